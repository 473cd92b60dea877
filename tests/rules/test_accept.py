"""Results that are kept although the code changed, or although Snakemake's records are lost."""

import os
import shutil
import subprocess

import pytest

from experiments import patch
from project import Project
from rlhf.base.artifacts import read_provenance
from rlhf.responses.schema import RESPONSES
from test_determinism import COMPARED, digest

pytestmark = pytest.mark.slow

FLAGS = ("--cores", "2", "--configfile", "config/micro.yaml")


def accept(project: Project, *flags: str) -> subprocess.CompletedProcess[str]:
    return project.command("accept", *(flags or FLAGS))


def edit(project: Project, module: str, before: str, after: str) -> None:
    path = project.folder / "scripts" / module
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def digests(project: Project) -> dict[str, str]:
    return {name: digest(project.folder / "results/micro" / name) for name in COMPARED}


def assert_a_later_edit_is_noticed(project: Project) -> None:
    config = project.write_config(patch(project.read_config(), {"training.learning_rate": 2e-3}), "edited")
    assert set(project.planned(configfile=config)) >= {"train_policy"}


def test_nothing_to_accept(micro: Project) -> None:
    done = accept(micro)
    assert done.returncode == 0, done.stderr
    assert "Nothing to accept" in done.stdout


def test_a_harmless_change_of_three_stages(scratch_micro: Project) -> None:
    """Of the programs of two stages, and of the losses."""
    project, before = scratch_micro, digests(scratch_micro)
    for module in ("build_pairs.py", "compute_logprobs.py", "rlhf/training/losses/rebel.py"):
        edit(project, module, "\n\n\ndef ", "\n\nUNUSED = 0\n\n\ndef ")
    assert {"build_pairs", "compute_logprobs", "train_policy"} <= project.planned().keys()
    done = accept(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Accepted" in done.stdout
    assert project.planned() == {}
    assert digests(project) == before
    assert not list(project.folder.glob(".accept*"))
    assert_a_later_edit_is_noticed(project)


def test_edited_settings_are_not_accepted(micro: Project) -> None:
    config = micro.write_config(patch(micro.read_config(), {"training.learning_rate": 2e-3}), "edited")
    done = accept(micro, "--cores", "2", "--configfile", config)
    assert done.returncode == 1
    assert "results/micro/rebel-1/checkpoint: recipe" in done.stderr


def test_records_that_are_lost(scratch_micro: Project) -> None:
    """As where results/ alone was copied to another machine: results say themselves what they were made of."""
    project, before = scratch_micro, digests(scratch_micro)
    shutil.rmtree(project.folder / ".snakemake")
    config = project.write_config(patch(project.read_config(), {"training.learning_rate": 2e-3}), "edited")
    refused = accept(project, "--cores", "2", "--configfile", config)
    assert refused.returncode == 1
    assert "results/micro/rebel-1/checkpoint: recipe" in refused.stderr
    done = accept(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing to accept" in done.stdout
    assert project.planned() == {}
    assert digests(project) == before
    assert_a_later_edit_is_noticed(project)


def test_a_harmful_change_behind_a_harmless_one(scratch_micro: Project) -> None:
    """Snakemake does not say of a stage behind a changed one that its own code changed."""
    project, before = scratch_micro, digests(scratch_micro)
    edit(project, "build_pairs.py", "\n\n\ndef ", "\n\nUNUSED = 0\n\n\ndef ")
    edit(project, "rlhf/training/losses/rebel.py", "square()", "square() * 2")
    done = accept(project)
    assert done.returncode == 1
    assert "error: the code now makes other results of these" in done.stderr
    # The faster one of the two stands for the variant.
    assert done.stderr.splitlines()[-1] in [f"  results/micro/rebel-{iteration}/checkpoint" for iteration in (1, 2)]
    planned = project.planned()
    assert planned["train_policy"] == {"rebel-1", "rebel-2"}
    assert "simpo-1" not in set().union(*planned.values())
    assert "base" not in planned["build_pairs"]  # that change alone is accepted
    assert digests(project) == before


def test_rewards_of_other_responses_are_not_accepted(micro: Project) -> None:
    """As where responses were sampled again with equal settings, and the run ended before they were scored."""
    path = micro.folder / "results/micro/rebel-1/responses/test-000.parquet"
    content, status, origin = path.read_bytes(), path.stat(), read_provenance(path)
    rows = RESPONSES.read(path).to_pylist()
    rows[0]["response"] += " again"
    origin.pop("artifact")
    RESPONSES.write(path, rows, origin)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    done = accept(micro)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert done.returncode == 1
    assert "results/micro/rebel-1/rewards/test-000.parquet: other responses" in done.stderr
