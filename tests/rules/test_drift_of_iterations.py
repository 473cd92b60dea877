"""Three iterations of the tiny experiment with a moving and with a fixed reference: how far they drift from base."""

from pathlib import Path
from typing import Any

import pytest

from experiments import patch
from project import Project, copy_project
from rlhf.logprobs.schema import DRIFT, Drift

CHOICES: dict[str, dict[str, Any]] = {
    "parent": {},
    "base": {"training.reference": "base"},
    "accumulated": {"training.reference": "base", "training.pairs_of": "accumulated"},
}
"""Experiments by name; those after the first take what they share with it."""
ERRORS = 3
"""Standard errors of their difference that two policies must be apart after the third iteration."""


def drifts(project: Project, name: str) -> list[Drift]:
    """Of the three policies of an experiment, which runs here."""
    tiny = project.read_config("config")
    loss = tiny["variants"]["rebel"]["loss"]
    others = {"experiment": name, "variants": {"rebel": {"loss": loss, "iterations": 3}}}
    others |= {"evaluation.kl_to_base": True, "reuse": [] if name == "parent" else ["results/parent"]}
    files = [f"results/{name}/rebel-{iteration}/drift.parquet" for iteration in (1, 2, 3)]
    project.run(*files, configfile=project.write_config(patch(tiny, {**others, **CHOICES[name]}), name))
    return [Drift.of(DRIFT.read(project.folder / file)) for file in files]


@pytest.mark.slow
def test_a_fixed_reference_drifts_less_with_current_and_with_accumulated_pairs(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    found = {name: drifts(project, name) for name in CHOICES}
    moving = found.pop("parent")
    for fixed in found.values():
        assert fixed[0] == moving[0]
        assert fixed[1].per_response < moving[1].per_response
        assert fixed[2].error is not None and moving[2].error is not None
        apart = ERRORS * (fixed[2].error ** 2 + moving[2].error ** 2) ** 0.5
        assert fixed[2].per_response + apart < moving[2].per_response
