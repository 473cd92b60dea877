"""The time and the disk that a training asks for, by the size of its model: in the jobs that are planned."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments import patch
from project import Project, copy_project
from published_rows import PUBLISHED
from rlhf.base.errors import UserError
from workflow.experiment import Experiment, load_experiment
from workflow.planning.saving_requests import with_stop_seconds


def published(changes: dict[str, Any]) -> Experiment:
    return load_experiment(patch(yaml.safe_load(PUBLISHED.read_text()), changes), "test")


def requests(project: Project, configfile: str, *arguments: str) -> dict[str, dict[str, str]]:
    """The resources of each policy's training, as the dry run prints them."""
    shown = project.snakemake("--dry-run", *arguments, configfile=configfile)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    found = {}
    for job in re.findall(r"^rule train_policy:\n(?:    .*\n)*", shown.stdout, re.MULTILINE):
        resources = re.search(r"^    resources: (.*)$", job, re.MULTILINE)[1]
        policy = re.search(r"policy=(\S+)", job)[1]
        found[policy] = dict(part.split("=", 1) for part in resources.split(", "))
    return found


def test_the_published_training_asks_for_two_states_and_its_checkpoint(tmp_path: Path) -> None:
    """26 bytes per weight of 8.03 billion, and a tenth; adapters take their own and the frozen weights'."""
    project = copy_project(tmp_path)
    changes = {"variants.simpo.lora": {"rank": 64, "alpha": 64}}
    config = project.write_config(patch(project.read_config("llama3-8b-ultrafeedback"), changes), "adapters")
    found = requests(project, config)
    assert int(found["rebel-1"]["disk_mb"]) == 229_666
    assert found["rebel-1"]["stop_seconds"] == "300"
    assert found["rebel-1"]["slurm_extra"] == "--signal=TERM@300"
    assert 50_000 < int(found["simpo-1"]["disk_mb"]) < 100_000


def test_a_model_that_is_not_here_asks_for_what_the_profile_gives_any_job(tmp_path: Path) -> None:
    found = requests(copy_project(tmp_path), "config/micro.yaml", "--default-resources", "disk_mb=50000")
    assert found["rebel-1"]["disk_mb"] == "50000"
    assert found["rebel-1"]["stop_seconds"] == "300"


def test_the_longest_of_all_variants_counts_and_what_is_set_goes_before() -> None:
    for changes, expected in (
        ({}, 300),
        ({"variants.dpo.batch_size": 1024}, 420),  # seven times the 18 seconds of a step more
        ({"hardware.gpu_tflops": 312}, 420),
        ({"hardware.train_policy.stop_seconds": 77}, 77),
        (
            {"hardware.train_policy": {"gpu": 0, "strategy": "single", "processes": 1}},
            360,
        ),  # one file of 64 GB to sum up
    ):
        experiment = published(changes)
        assert with_stop_seconds(experiment, experiment.hardware.train_policy).stop_seconds == expected


def test_a_runtime_that_is_no_longer_is_refused() -> None:
    experiment = published({"hardware.train_policy.runtime": 5})
    with pytest.raises(UserError, match=r"train_policy.runtime: it is 5 minute.*300 seconds.*Allowed: 6 and more"):
        with_stop_seconds(experiment, experiment.hardware.train_policy)
