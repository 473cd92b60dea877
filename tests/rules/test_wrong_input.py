"""What is wrong stops the run in seconds, before the first job, with a sentence and no traceback."""

import functools
import resource
import subprocess
import sys
from typing import Any

import pytest

from experiments import patch
from project import Project, copy_project

SECONDS = 3
"""Of a processor, for a refusal; on a slow machine `TIMES_IMPORT` the import of Snakemake, nearly half of it."""
TIMES_IMPORT = 4
CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "wrong key": ({"trainig": {}}, ["config/wrong.yaml", "trainig", "`training`"]),
    "wrong value": ({"training.learning_rate": "1e-4"}, ["training.learning_rate", "'1e-4'", "number"]),
    "no such dataset": ({"prompts.dataset": "data/none.parquet"}, ["data/none.parquet", "no such file"]),
    "no such model": ({"base_model.name": "./models/none"}, ["./models/none", "no such folder"]),
    "folder without a model": ({"base_model.name": "config"}, ["config", "no config.json"]),
    "no such reward function": (
        {"rewards": {"kind": "function", "function": "nowhere:score"}},
        ["nowhere", "no module"],
    ),
    "a reward function that cannot be imported": (
        {"rewards": {"kind": "function", "function": "broken_rewards:score"}},
        ["rewards.function", "ZeroDivisionError", "broken_rewards.py, line 2: HALF = 1 / 0"],
    ),
    "a dataset of another column": (
        {"prompts.dataset": "texts.jsonl"},
        ["prompts.column: there is no column 'prompt' in texts.jsonl", "'text'"],
    ),
    "ten million iterations": ({"training.iterations": 10_000_000}, ["training.iterations", "10000000", "1000"]),
    "a billion parts": (
        {"prompts.dataset": "owner/name", "prompts.train": 10**9, "prompts.part_size": 1},
        ["prompts.part_size: it is 1", "1,000,000,004 parts", "10,000"],
    ),
    "a kind of reward that is not Python": (
        {"rewards": {"kind": "broken_kind"}},
        ["rewards/kinds/broken_kind.py: cannot be imported: SyntaxError", "line 2: class Broken(", "Fix the file"],
    ),
    "a kind of reward without settings": (
        {"rewards": {"kind": "empty_kind"}},
        ["rewards/kinds/empty_kind.py: defines 0 subclasses of RewardSettings", "Fix the file"],
    ),
    "a loss that needs what is not installed": (
        {"variants.rebel.loss": {"name": "broken_loss"}},
        ["losses/broken_loss.py: cannot be imported: ModuleNotFoundError", "line 1: import nothing_here"],
    ),
    "an engine that is not Python": (
        {"responses.engine": "broken_engine"},
        ["engines/broken_engine.py: cannot be read as Python: SyntaxError", "Fix the file"],
    ),
    "heads that do not divide": ({"tiny.network.heads": 3}, ["tiny.network: heads: 3", "allowed: 1, 2, 4, 8, 16"]),
    "no such imported responses": (
        {"responses.imported": {"dataset": "none.jsonl"}},
        ["none.jsonl", "no such file"],
    ),
}

BROKEN = {
    "rewards/kinds/broken_kind.py": '"""A kind."""\nclass Broken(:\n',
    "rewards/kinds/empty_kind.py": '"""A kind."""\n',
    "training/losses/broken_loss.py": "import nothing_here\n",
    "responses/engines/broken_engine.py": "def start(:\n",
}
"""Choices with a mistake; they are named in the configuration, or disturb no other."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = copy_project(tmp_path_factory.mktemp("wrong"))
    (project.folder / "broken_rewards.py").write_text("def score(prompts, responses): return []\nHALF = 1 / 0\n")
    for name, code in BROKEN.items():
        (project.folder / "scripts/rlhf" / name).write_text(code)
    (project.folder / "texts.jsonl").write_text('{"text": "a"}\n')
    return project


def computed_seconds() -> float:
    """CPU time of the finished child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@functools.cache
def seconds_of_import() -> float:
    """CPU time of a process that loads Snakemake."""
    before = computed_seconds()
    subprocess.run([sys.executable, "-c", "import snakemake.cli"], check=True)
    return computed_seconds() - before


def stopped(project: Project, patches: dict[str, Any]) -> str:
    """What a run says that must stop at once."""
    return stopped_with(project, project.write_config(patch(project.read_config(), patches), "wrong"))


def stopped_with(project: Project, path: str) -> str:
    before = computed_seconds()
    finished = project.snakemake(configfile=path)
    assert finished.returncode != 0
    refused = computed_seconds() - before  # not the time on the wall: other tests run beside this one
    assert refused < max(SECONDS, TIMES_IMPORT * seconds_of_import())
    output = finished.stdout + finished.stderr
    assert "Traceback" not in output
    assert "jobid" not in output
    return output


@pytest.mark.parametrize("case", CASES)
def test_wrong_input_stops_before_the_first_job(case: str, project: Project) -> None:
    patches, said = CASES[case]
    output = stopped(project, patches)
    for words in ["error: ", *said]:
        assert words in output


def test_a_key_that_stands_twice_stops_the_run_with_both_lines(project: Project) -> None:
    text = (project.folder / "config/micro.yaml").read_text()
    (project.folder / "config/twice.yaml").write_text(text.replace("prompts:\n", "seed: 2\nprompts:\n", 1))
    output = stopped_with(project, "config/twice.yaml")
    assert "twice.yaml: duplicate keys" in output
    assert "  seed: lines 4 and 8" in output


def test_splits_that_meet_stop_at_the_start_where_the_prompts_are_known(micro: Project) -> None:
    output = stopped(micro, {"prompts.train": 15, "tiny.prompts": 100})
    assert "there are 16 prompts" in output
    assert "`prompts.train` (15)" in output


@pytest.mark.parametrize("content", ["", "- experiment: tiny\n", "experiment: {tiny\n"])
def test_snakemake_itself_refuses_what_has_no_keys(content: str, project: Project) -> None:
    """It reads --configfile before it runs the Snakefile; `make plan` names the file and the line too."""
    (project.folder / "config/none.yaml").write_text(content)
    assert "Config file " in stopped_with(project, "config/none.yaml")
