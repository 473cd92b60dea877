"""Two experiments that run at the same time compute what they share once."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from experiments import patch
from project import Project, copy_project, finish_run, kill_run, start_run, wait_for
from rlhf.base.files.checksums import verify
from test_determinism import COMPARED, digest
from warm_python import warm_python

pytestmark = pytest.mark.slow

SHORT: dict[str, Any] = {"training.iterations": 1, "variants.rebel.iterations": ..., "variants.simpo": ...}
OTHER_TRAINING = {"training.learning_rate": 2e-3}
COUNTED = """
def run(main):
    import os, sys
    flag = next(flag for flag in ("--output", "--checkpoint") if flag in sys.argv)
    with open("started", "ab", buffering=0) as file:
        file.write(f"{sys.argv[sys.argv.index(flag) + 1]}\\n".encode())
    counted(main)
"""
"""Written after `run` of `command_line.py`, which every program calls and no digest contains."""


@pytest.fixture
def counting(tmp_path: Path) -> Project:
    """A project whose programs write down what they start to make."""
    project = copy_project(tmp_path / "project")
    module = project.folder / "scripts/command_line.py"
    module.write_text(module.read_text() + "\n\ncounted = run\n" + COUNTED)
    return project


def experiment(project: Project, name: str, **changes: Any) -> str:
    """An experiment that takes from all others in the folder."""
    asked = {"experiment": name, "reuse": ["results"], **SHORT, **changes}
    return project.write_config(patch(project.read_config(), asked), f"{name}_at_once")


def started(project: Project) -> Counter[str]:
    """How often each artifact was computed, by its name in its experiment."""
    lines = (project.folder / "started").read_text().splitlines()
    return Counter(line.split("/", 2)[2] for line in lines)


def start(project: Project, config: str, *targets: str) -> subprocess.Popen[str]:
    return start_run(project, *targets, "--configfile", config)


OWN = {"rebel-1", "length_control.parquet", "report"}
"""What depends on the training, as the first names of paths."""


def test_what_two_runs_share_is_computed_once(counting: Project, finished_micro: Project) -> None:
    counting.python = str(warm_python())
    configs = experiment(counting, "micro"), experiment(counting, "other", **OTHER_TRAINING)
    runs = [start(counting, config) for config in configs]
    outputs = [finish_run(run) for run in runs]
    counts = started(counting)
    assert {name: count for name, count in counts.items() if count != 1 + (name.split("/")[0] in OWN)} == {}
    assert {"world/pretrained", "prompts.parquet", "base/responses/train-000.parquet"} <= counts.keys()
    assert any("is computing this; waiting." in output for output in outputs)
    results = [project.folder / "results/micro" for project in (counting, finished_micro)]
    assert [name for name in COMPARED if digest(results[0] / name) != digest(results[1] / name)] == []
    shared = [name for name in COMPARED if name.split("/")[0] not in OWN]
    assert all((results[0] / name).samefile(results[0].with_name("other") / name) for name in shared)
    verify(results[0].with_name("other") / "rebel-1/checkpoint")
    assert [counting.planned(configfile=config) for config in configs] == [{}, {}]
    assert not (counting.folder / "results/.claims").exists()


def test_the_other_goes_on_after_a_kill(counting: Project, finished_micro: Project) -> None:
    target = "base/rewards/test-000.parquet"
    killed = start(counting, experiment(counting, "other"), f"results/other/{target}")
    wait_for(lambda: (counting.folder / "results/other/world/tokenizer").exists(), "tokenizer")
    survivor = start(counting, experiment(counting, "micro"), f"results/micro/{target}")
    wait_for(lambda: (counting.folder / "results/micro/world/tokenizer").exists(), "taken tokenizer")
    wait_for(lambda: (counting.folder / "results/.claims").exists(), "claim")
    kill_run(killed)
    finish_run(survivor)
    results = [project.folder / "results/micro" / target for project in (counting, finished_micro)]
    assert digest(results[0]) == digest(results[1])
    twice = {name for name, count in started(counting).items() if count > 1}
    assert len(twice) <= 2, "what the killed run was computing on two processors"
    assert sum(started(counting).values()) == len(started(counting)) + len(twice)
