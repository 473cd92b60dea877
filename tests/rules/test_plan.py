"""The plan before the bill."""

import re
import subprocess
import sys

import pytest
from test_reruns import patch
from workflow import Project


def plan(project: Project, *arguments: str) -> str:
    command = [sys.executable, "scripts/plan.py", "--cores", "2", *arguments]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows(table: str) -> dict[str, list[str]]:
    """The cells of each stage's first line."""
    lines = [line.split("│")[1:-1] for line in table.splitlines() if line.startswith("│")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines if cells[0].strip()}


def recorded_seconds(project: Project, pattern: str) -> list[float]:
    paths = (project.folder / "benchmarks/micro").glob(pattern)
    return [float(path.read_text().splitlines()[1].split("\t")[0]) for path in paths]


def test_a_finished_run(micro: Project) -> None:
    assert plan(micro, "--configfile", "config/micro.yaml").startswith("Nothing to be done")


def test_the_reasons_of_a_stage(micro: Project) -> None:
    """rebel-1 for the edit itself, rebel-2 because of rebel-1."""
    config = micro.write_config(patch(micro.read_config(), {"variants.rebel.loss.eta": 5.0}), "edited")
    shown = plan(micro, "--configfile", config)
    assert rows(shown)["train_policy"][:3] == ["2", "", "rebel-1 rebel-2"]
    training = re.sub(r"[│\s]+", " ", shown.split("│ train_policy")[1].split("│ report")[0])
    assert "Params have changed since last execution (1)" in training
    assert "Input files updated by another job (1)" in training


def test_an_edit_with_records_of_earlier_runs(micro: Project) -> None:
    changes = {"variants.rebel.loss.eta": 5.0, "prompts.train": 12}
    config = micro.write_config(patch(micro.read_config(), changes), "edited")
    shown = plan(micro, "--configfile", config)
    found = rows(shown)
    assert found["generate_responses"][:2] == ["7", "3 train, 1 test"]
    assert set(found["generate_responses"][2].split()) == {"base", "rebel-1", "rebel-2", "simpo-1"}
    assert found["train_policy"][:2] == ["3", ""]
    assert found["train_policy"][4] == "2 GB, 24 h"
    seconds = sum(recorded_seconds(micro, "train_policy/*.tsv"))
    assert float(found["train_policy"][5]) == pytest.approx(seconds / 3600, rel=0.05)
    assert "about 0 GPU hours" in shown


def test_gpu_hours_of_what_has_no_record_are_bounded_by_the_time_limits(micro: Project) -> None:
    changes = {
        "experiment": "other",
        "hardware.train_policy": {"gpu": 4, "runtime": 90, "mem_mb": 2000},
        "hardware.compute_logprobs": {"gpu": 1, "runtime": 30, "mem_mb": 2000},
    }
    config = micro.write_config(patch(micro.read_config(), changes), "other")
    shown = plan(micro, "--configfile", config)
    found = rows(shown)
    assert found["train_policy"][4:] == ["4 GPUs, 2 GB, 1.5 h", "at most 4.5", "at most 18"]
    jobs = int(found["compute_logprobs"][0])
    summary = " ".join(shown.split("jobs, ")[1].split())
    assert summary.startswith(f"at most {18 + jobs * 0.5:.3g} GPU hours, the time limits taken for compute_logprobs")


def test_a_wrong_configuration_is_a_sentence(micro: Project) -> None:
    config = micro.write_config(patch(micro.read_config(), {"seeed": 3}), "wrong")
    command = [sys.executable, "scripts/plan.py", "--configfile", config]
    done = subprocess.run(command, cwd=micro.folder, capture_output=True, text=True)
    assert done.returncode != 0
    assert "seeed" in done.stdout + done.stderr
    assert "stage" not in done.stdout
