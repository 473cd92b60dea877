"""The plan before the bill."""

import re
import shutil
import subprocess
import sys

import pytest

from experiments import patch
from project import Project
from published_rows import readme_rows


def plan(project: Project, *arguments: str) -> str:
    done = project.command("plan", "--cores", "2", *arguments)
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
    assert "loss.eta 10.0 -> 5.0 (1)" in training
    assert "Params have changed" not in training
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
    assert float(found["train_policy"][6]) == pytest.approx(seconds / 3600, rel=0.05)
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
    assert found["train_policy"][4:] == ["4 GPUs, 2 GB, 1.5 h", "", "at most 4.5", "at most 18"]
    jobs = int(found["compute_logprobs"][0])
    summary = " ".join(shown.split("jobs, ")[1].split())
    assert summary.startswith(f"at most {18 + jobs * 0.5:.3g} GPU hours, the time limits taken for compute_logprobs")


PUBLISHED = "config/llama3-8b-ultrafeedback.yaml"


def test_the_published_experiment_by_stage(micro: Project) -> None:
    """Gigabytes per GPU, and GPU hours within a factor of two of what README says for one variant of the three."""
    shown = plan(micro, "--configfile", PUBLISHED)
    found = rows(shown)
    on_gpus = ("generate_responses", "score_responses", "judge_responses", "compute_logprobs", "train_policy")
    assert all(10 < float(found[rule][5]) <= 72 for rule in on_gpus)
    assert all(found[rule][7].startswith("~") for rule in on_gpus)
    (readme,) = (row for row in readme_rows() if row.gpus == 8)
    total = re.search(r"about (\d+) GPU hours", shown)
    assert total is not None
    assert 1 / 2 < float(total[1]) / readme.gpu_hours < 2
    assert "calculated, not measured" in shown


def test_the_hours_of_a_first_part_correct_those_of_the_others(micro: Project) -> None:
    record = "benchmarks/llama3-8b-ultrafeedback/generate_responses/base/train-000.tsv"
    before = float(rows(plan(micro, "--configfile", PUBLISHED))["generate_responses"][6].lstrip("~"))
    (micro.folder / record).parent.mkdir(parents=True)
    part = 120 + 7000 * 5 * 410 / 12_500
    (micro.folder / record).write_text(f"s\th:m:s\n{3 * part}\t0:57:24\n")  # three times what is calculated
    after = rows(plan(micro, "--configfile", PUBLISHED))["generate_responses"][6]
    shutil.rmtree(micro.folder / "benchmarks/llama3-8b-ultrafeedback")
    assert float(after) == pytest.approx(3 * before, rel=0.05)


def test_a_model_that_is_not_known_yet(micro: Project) -> None:
    config = micro.read_config("llama3-8b-ultrafeedback")
    shown = plan(micro, "--configfile", micro.write_config(patch(config, {"base_model.name": "owner/model"}), "other"))
    assert "Memory and hours of owner/model are not known before `snakemake prefetch`." in shown
    assert rows(shown)["train_policy"][5] == ""
    assert rows(shown)["train_policy"][6].startswith("at most")


def test_what_cannot_fit_stops_a_dry_run_at_once(micro: Project) -> None:
    config = micro.read_config("llama3-8b-ultrafeedback")
    edited = micro.write_config(patch(config, {"hardware.train_policy.token_budget": 16384}), "large")
    command = [sys.executable, "-m", "snakemake", "-n", "--configfile", edited]
    done = subprocess.run(command, cwd=micro.folder, capture_output=True, text=True)
    assert done.returncode != 0
    assert "variant rebel: 16384 tokens at once need 15" in done.stderr
    assert "What would fit: `token_budget: auto`" in done.stderr
    assert "Traceback" not in done.stderr
    assert "job" not in done.stdout


def test_a_wrong_configuration_is_a_sentence(micro: Project) -> None:
    config = micro.write_config(patch(micro.read_config(), {"seeed": 3}), "wrong")
    done = micro.command("plan", "--configfile", config)
    assert done.returncode != 0
    assert "seeed" in done.stdout + done.stderr
    assert "stage" not in done.stdout
