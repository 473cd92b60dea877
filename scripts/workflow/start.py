"""Load the experiment and check everything that can be checked without a GPU or the hub."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from rlhf.machine.leases import GRANTED_BY
from rlhf.prompts.split_sizes import check_split_sizes
from workflow.duplicate_keys import refuse_duplicate_keys
from workflow.experiment import Experiment, load_experiment
from workflow.paths import Paths
from workflow.planning.checks.scorers import check_functions, check_judges, check_kept_columns
from workflow.planning.checks.sources import check_sources
from workflow.planning.model_checks import check_models
from workflow.records.own_records import use_own_records
from workflow.reuse.graph import use_other_results
from workflow.sources import refuse_conda_for_embedded
from workflow.specs.programs import Specs


def start(
    config: Mapping[str, Any], files: Iterable[str], deployment: Collection[object], *, look_up: bool
) -> Experiment:
    """Load and check the experiment of a configuration.

    Args:
        config: the mapping that Snakemake read.
        files: the files it was read from, for messages.
        deployment: the methods of `--sdm`.
        look_up: whether to check models, datasets and functions; jobs of a run skip what its plan has checked.

    Raises:
        UserError: says what is wrong, where, and what is allowed.
    """
    files = list(map(str, files))
    for file in files:
        refuse_duplicate_keys(Path(file))
    experiment = load_experiment(config, ", ".join(files) or "the configuration")
    refuse_conda_for_embedded(experiment.environments, deployment)
    if look_up:
        check_sources(experiment)
        check_kept_columns(experiment)
        check_models(experiment)
        check_functions(experiment)
        check_judges(experiment)
    paths, prompts = Paths(experiment), experiment.prompts
    check_split_sizes(
        Path(paths.results, "prompts.parquet"),
        prompts.train,
        prompts.selection + prompts.test,
        Specs(experiment).collect_prompts(),
    )
    use_own_records(Path(paths.accepted))
    use_other_results(experiment)
    return experiment


def prepare_process(environments: str, *, submitted: bool) -> None:
    """Set this process, and the jobs that it starts, up for the pipeline.

    Args:
        environments: that key of the experiment.
        submitted: whether Snakemake submitted this process to a scheduler.
    """
    if environments == "embedded":  # the programs come from the environment that Snakemake runs in
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if submitted:  # its GPUs are the scheduler's; other jobs lease theirs
        os.environ[GRANTED_BY] = "scheduler"
    # Programs write to logs, which progress bars of libraries would fill with control characters.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # A plan holds thousands of jobs: looking for garbage among them takes a sixth of its time.
    gc.set_threshold(100_000)
