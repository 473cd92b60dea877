"""Checks of models and datasets before any job."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from rlhf.base.errors import UserError
from rlhf.datasets.columns import AND, ColumnKinds, local_columns, require_text
from rlhf.datasets.files import require_columns
from rlhf.datasets.folders import is_local, local_files
from rlhf.datasets.json_lines import TEXT, TEXTS, TURNS
from rlhf.pairs.imported.columns import require_pair_columns
from rlhf.pairs.imported.settings import ImportedPairSettings
from rlhf.prompts.settings import BenchmarkSettings, PromptSettings
from rlhf.responses.imported import require_imported_columns
from rlhf.responses.imported_draws import is_own
from rlhf.responses.settings import ImportedSettings
from rlhf.rewards.model_scorer import OTHER_FORM, ModelScorer, PackedScorer
from workflow.experiment import MADE_BY_RULES, Experiment
from workflow.paths import STORE
from workflow.planning.model_folders import check_model_folder
from workflow.reuse.published import published_results
from workflow.sources import local_fingerprint, model_source
from workflow.specs.imported import prompt_column, rewards_place


def check_sources(experiment: Experiment) -> None:
    """Check that each model and dataset is a valid hub name or a usable local file.

    Raises:
        UserError: with the key.
    """
    base = experiment.base_model
    check_model("base_model.name", base.name, base.revision, check_model_folder)
    for key, scorer in experiment.scorers().items():
        if isinstance(scorer, ModelScorer):
            without_template = OTHER_FORM if isinstance(scorer, PackedScorer) else None
            check = partial(check_model_folder, without_template=without_template)
            check_model(f"{key}.model", scorer.model, scorer.revision, check)
        for file in scorer.files:
            if not Path(file).is_file():
                raise UserError(f"{key}: there is no file {file!r}, which it names: give the path of one, or null")
    _check_dataset("prompts.dataset", experiment.prompts, partial(_require_prompts, experiment))
    for number, folder in enumerate(experiment.reuse):
        try:
            found = published_results(folder) is not None or Path(folder).is_dir()
        except UserError as error:
            raise UserError(f"reuse.{number}: {error}") from error
        if not found and Path(folder) != Path(STORE):  # the first run makes that one
            raise UserError(
                f"reuse.{number}: there is no folder {folder!r}; allowed: the results of an experiment "
                "(`results/<experiment>`), a folder with those of several, or a published dataset (`hub:owner/name`)"
            )
    for number, file in enumerate(experiment.evaluation.difficulty_comparisons):
        if not Path(file).is_file():
            raise UserError(
                f"evaluation.difficulty_comparisons.{number}: there is no file {file!r}; allowed: "
                "`results/<experiment>/<policy>/comparisons.parquet` of an experiment that has run"
            )
    for key, benchmark in experiment.prompts.benchmarks():
        _check_benchmark(f"prompts.{key}", benchmark)
    if experiment.responses.imported:
        section = experiment.responses.imported
        _check_dataset("responses.imported.dataset", section, partial(_require_responses, experiment))
    if experiment.pairs.imported:
        _check_dataset("pairs.imported.dataset", experiment.pairs.imported, partial(_require_pairs, experiment))


def check_model(key: str, name: str, revision: str | None, check: Callable[[Path], None]) -> None:
    """Check that a model is a hub name or a usable folder, unless a rule makes it."""
    if name.startswith(MADE_BY_RULES):
        return
    try:
        if model_source(name, revision).fingerprint is not None:
            check(Path(name))
    except UserError as error:
        raise UserError(f"{key}: {error}") from error


DatasetSection = PromptSettings | BenchmarkSettings | ImportedSettings | ImportedPairSettings
"""A section of the configuration that names a dataset."""


def _check_dataset(key: str, section: DatasetSection, require: Callable[[ColumnKinds], None]) -> None:
    """Check a dataset if it is a local file or folder; of a folder, its first file.

    Args:
        require: raises UserError if a column is missing, with the key that names it.
    """
    if section.dataset.startswith(MADE_BY_RULES):
        return
    try:
        if local_fingerprint(section.dataset) is None:
            return
        file = local_files(Path(section.dataset), section.subset, section.split)[0]
        columns = local_columns(file, whole=False)
    except UserError as error:
        raise UserError(f"{key}: {error}") from error
    try:
        require(columns)
    except UserError:
        require(local_columns(file, whole=True))


def _check_benchmark(key: str, benchmark: BenchmarkSettings) -> None:
    """Raise UserError if a benchmark's dataset cannot be one, or a local file has keys of hub datasets."""

    def require(columns: ColumnKinds) -> None:
        require_text(columns, benchmark.column, benchmark.dataset, f"{key}.column", TEXTS)

    _check_dataset(f"{key}.dataset", benchmark, require)
    keys = ("file", "revision", *(() if Path(benchmark.dataset).is_dir() else ("subset",)))
    for name in keys:
        if is_local(benchmark.dataset) and (value := getattr(benchmark, name)) is not None:
            raise UserError(f"{key}.{name}: it is {value!r}, and {benchmark.dataset!r} is a local file: leave it out")


def _require_prompts(experiment: Experiment, columns: ColumnKinds) -> None:
    prompts = experiment.prompts
    require_text(columns, prompts.column, prompts.dataset, "prompts.column", TURNS)
    require_columns(list(columns), prompts.keep, f"prompts.keep: {prompts.dataset}", "Name columns that there are.")


def _require_responses(experiment: Experiment, columns: ColumnKinds) -> None:
    imported, draws = experiment.responses.imported, experiment.responses.draws
    if imported is None:
        return
    if not is_own(list(columns), rewards=False):
        chats = TEXT not in columns.get(imported.column, TEXT).split(AND)
        require_imported_columns(
            list(columns), draws, imported.column, imported.dataset, rewards=imported.rewards, chats=chats
        )
    elif imported.rewards:
        dataset, subset = rewards_place(imported)
        there = local_columns(local_files(Path(dataset), subset, imported.split)[0], whole=False)
        if not is_own(list(there), rewards=True):
            raise UserError(
                f"responses.imported.rewards: there are no rewards of {imported.dataset!r} beside it (a folder "
                "`rewards` beside `responses`): put them there, or set `false` to score the responses with `rewards`"
            )


def _require_pairs(experiment: Experiment, columns: ColumnKinds) -> None:
    imported = experiment.pairs.imported
    if imported is not None:
        require_pair_columns(list(columns), imported, prompt_column(experiment), imported.dataset)
        for side in ("chosen", "rejected"):
            require_text(columns, getattr(imported, side), imported.dataset, f"pairs.imported.{side}", TURNS)
