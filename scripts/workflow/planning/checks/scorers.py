"""Checks of scorers before any job: columns, judges, keys of servers, reward functions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rlhf.base.errors import UserError
from rlhf.base.settings import canonical_json, key_of_server
from rlhf.base.source_digest import SCRIPTS
from rlhf.rewards.judge.templates import JudgeTemplate
from rlhf.rewards.kinds.function import FunctionSettings
from rlhf.rewards.kinds.http import HttpSettings
from rlhf.rewards.kinds.llm import LlmSettings
from workflow.experiment import Experiment
from workflow.planning.checks.sources import check_model
from workflow.planning.model_folders import check_model_folder

IMPORT_SECONDS = 120
"""In which a user's module must be imported."""
LOAD_FUNCTION = """
import sys
sys.path[:0] = [sys.argv[1]]
from rlhf.base.errors import UserError
from rlhf.rewards.given.function_loading import load_function
try:
    load_function(sys.argv[2])
except UserError as error:
    missing = isinstance(error.__cause__, ModuleNotFoundError)
    sys.stderr.write("\\n" + str(error))
    sys.exit(3 if missing else 2)
"""
"""In a process of its own: a user's module may do what it likes, and Snakemake's own process stays as it was."""
MISSING_PACKAGE, REFUSED = 3, 2


def check_kept_columns(experiment: Experiment) -> None:
    """Raise UserError, with the key, if a scorer reads a column that the prompts do not keep."""
    kept = experiment.prompts.keep
    for key, scorer in experiment.scorers().items():
        for name, column in scorer.kept_columns.items():
            if column not in kept:
                known = ", ".join(map(repr, kept)) or "no column"
                raise UserError(
                    f"{key}.{name}: it is {column!r}, and prompts keep {known}: add it to `prompts.keep`, or name a "
                    "column that is kept"
                )


def check_judges(experiment: Experiment) -> None:
    """Check that each judge's template can be filled in, and that what benchmarks name is there.

    Raises:
        UserError: with the key.
    """
    for key, scorer in experiment.scorers().items():
        if isinstance(scorer, LlmSettings):
            names = ("response_a", "response_b") if scorer.compares_draws else ("response",)
            try:
                template = JudgeTemplate(scorer.template, f"{scorer.mode}.jinja")
                template.fill(
                    canonical_json(dict.fromkeys(experiment.prompts.keep, "")), prompt="p", **dict.fromkeys(names, "r")
                )
            except UserError as error:
                raise UserError(f"{key}.template: {error}") from error
    for name, task in experiment.benchmarks.run.items():
        if task.data is not None and not Path(task.data).is_dir():
            raise UserError(f"benchmarks.run.{name}.data: there is no folder {task.data!r}")
    judge = experiment.benchmarks.judge
    if experiment.benchmarks.run and judge is not None and judge.url is None:
        check_model("benchmarks.judge.model", judge.model, judge.revision, check_model_folder)


def require_keys(experiment: Experiment) -> None:
    """Check that the environment has the keys of all servers.

    Raises:
        UserError: names the variable and the setting.
    """
    variables: dict[str, str | None] = {}
    for key, scorer in experiment.scorers().items():
        if isinstance(scorer, LlmSettings):
            variables[f"{key}.key_variable"] = scorer.key_variable
        elif isinstance(scorer, HttpSettings):
            variables[f"{key}.token_variable"] = scorer.token_variable
    benchmarks = experiment.benchmarks
    if benchmarks.run and benchmarks.judge is not None:
        variables["benchmarks.judge.key_variable"] = benchmarks.judge.key_variable
    for setting, variable in variables.items():
        if variable is not None:
            key_of_server(variable, setting)


def check_functions(experiment: Experiment) -> None:
    """Check that each reward function exists, can be imported and takes the right arguments.

    A package that its module imports may be missing here if its jobs run in an environment of their own.

    Raises:
        UserError: with the key.
    """
    for key, scorer in experiment.scorers().items():
        if isinstance(scorer, FunctionSettings):
            command = [sys.executable, "-c", LOAD_FUNCTION, str(SCRIPTS), scorer.function]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_SECONDS)
            except subprocess.TimeoutExpired as error:
                raise UserError(
                    f"{key}.function: the module of {scorer.function!r} is still being imported after "
                    f"{IMPORT_SECONDS} s: load what is large in the function, at its first call"
                ) from error
            elsewhere = done.returncode == MISSING_PACKAGE and experiment.environments == "conda"
            if done.returncode and not elsewhere:
                raise UserError(f"{key}.function: {done.stderr.strip().splitlines()[-1]}")
