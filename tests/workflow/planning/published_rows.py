"""The rows of README's table "you have / set", and the experiment that each one makes of the published one."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workflow.experiment import Experiment, load_experiment
from workflow.planning.forecast import Forecast

REPOSITORY = Path(__file__).resolve().parents[3]
PUBLISHED = REPOSITORY / "config/llama3-8b-ultrafeedback.yaml"


@dataclass(frozen=True)
class ReadmeRow:
    """What a reader has, what to set, and the hours that README says."""

    gpus: int
    gigabytes: float
    settings: dict[str, Any]
    hours: float
    gpu_hours: float


def readme_rows() -> list[ReadmeRow]:
    """Of the table whose first column is "you have"."""
    lines = (REPOSITORY / "README.md").read_text().partition("| you have |")[2].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        have, keys, hours, gpu_hours = (cell.strip() for cell in line.strip("|").split("|"))
        numbers = re.fullmatch(r"(\d+) GPUs? of (\d+) GB", have)
        assert numbers is not None, have
        settings: dict[str, Any] = {}
        for text in re.findall(r"`([a-z_.]+: .*?)`(?:, |$)", keys):
            settings |= yaml.safe_load(text)
        rows.append(ReadmeRow(int(numbers[1]), float(numbers[2]), settings, float(hours), float(gpu_hours)))
    return rows


def experiment_of(row: ReadmeRow) -> Experiment:
    """The published experiment with one variant, on what the reader has."""
    config = yaml.safe_load(PUBLISHED.read_text())
    config["variants"] = {"rebel": config["variants"]["rebel"]}
    config["hardware"]["gpu_memory_gb"] = row.gigabytes
    for path, value in row.settings.items():
        section = config
        *folders, last = path.split(".")
        for name in folders:
            section = section.setdefault(name, {})
        section[last] = {**section[last], **value} if isinstance(section.get(last), dict) else value
    return load_experiment(config, "README")


def hours_of(experiment: Experiment, gpus: int) -> tuple[float, float]:
    """Hours from start to end with so many GPUs, and GPU hours, of one iteration of the one variant.

    Jobs of a stage run side by side; a stage begins when the one before it has ended.
    """
    forecast = Forecast(experiment, experiment.hardware.train_policy)
    train, test = experiment.train_parts(1), experiment.test_parts()
    base = [("base", part) for part in [*train, *test]]
    trained = [("rebel-1", part) for part in test]
    judged = [("base", part) for part in test]
    stages = {
        "generate_responses": [base, trained],
        "score_responses": [base, trained],
        "judge_responses": [[*judged, *trained]],
        "compute_logprobs": [[("base", part) for part in [*train, *test]]],
        "train_policy": [[("rebel-1", "")]],
    }
    wall = total = 0.0
    for rule, waves in stages.items():
        each = experiment.hardware.train_policy.gpu if rule == "train_policy" else 1
        for jobs in waves:
            seconds = [forecast.seconds(rule, *job) for job in jobs]
            known = [value for value in seconds if value is not None]
            assert len(known) == len(jobs)
            total += sum(known) * each / 3600
            rounds = math.ceil(len(known) * each / gpus)
            wall += max(max(known), sum(known) * each / gpus) / 3600 if rounds > 1 else max(known) / 3600
    return wall, total
