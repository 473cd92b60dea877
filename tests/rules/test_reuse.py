"""A second experiment takes what the first has made in the same way, and computes the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from environment_pins import pins
from experiments import patch
from project import Project
from rlhf.base.files.checksums import verify

pytestmark = pytest.mark.slow
FIRST, SECOND = Path("results/micro"), Path("results/second")
OTHER_TRAINING = {"training.learning_rate": 2e-3}
BYTE_OF_DATA = 40
"""Of a Parquet file: what it says of itself is at its end."""
OF_BASE = ("responses", "rewards", "pairs", "logprobs")
NOT_AGAIN = {"make_tiny_prompts", "pretrain_tiny_policy", "train_tiny_reward_model", "collect_prompts"}


def logs(project: Project) -> list[Path]:
    """The logs of the jobs that the second experiment has run."""
    return [path for path in (project.folder / "logs/second").rglob("*") if path.is_file()]


def second(project: Project, changes: dict[str, Any]) -> str:
    """The configuration of a second experiment that may take from the first."""
    asked = {"experiment": "second", "reuse": ["results"], **changes}
    return project.write_config(patch(project.read_config(), asked), "second")


def test_another_training_samples_scores_and_pairs_nothing(scratch_micro: Project) -> None:
    config = second(scratch_micro, OTHER_TRAINING)
    planned = scratch_micro.planned(configfile=config)
    trained = {"rebel-1", "rebel-2", "simpo-1"}
    assert planned["train_policy"] == trained
    assert all("base" not in policies for policies in planned.values())
    assert not planned.keys() & NOT_AGAIN
    assert not (scratch_micro.folder / SECOND).exists()
    shown = scratch_micro.command("plan", "--configfile", config).stdout
    assert "jobs would be taken from results/micro: " in shown
    assert "train_policy is not taken: learning_rate" in " ".join(shown.split())

    finished = scratch_micro.snakemake(configfile=config)
    assert finished.returncode == 0, finished.stderr
    assert "taken from results/micro: " in finished.stderr
    started = {path.relative_to(scratch_micro.folder / "logs/second").parts[0] for path in logs(scratch_micro)}
    assert not started & NOT_AGAIN
    for artifact in OF_BASE:
        files = sorted((scratch_micro.folder / FIRST / "base" / artifact).glob("*.parquet"))
        assert files
        assert all((scratch_micro.folder / SECOND / "base" / artifact / file.name).samefile(file) for file in files)
    assert not [path for path in logs(scratch_micro) if "base" in path.parts]
    verify(scratch_micro.folder / SECOND / "rebel-1/checkpoint")
    assert scratch_micro.planned(configfile=config) == {}
    assert scratch_micro.planned() == {}


def test_other_sampling_takes_no_response(micro: Project) -> None:
    planned = micro.planned(configfile=second(micro, {"responses.top_p": 0.5}))
    assert planned["generate_responses"] == {"base", "rebel-1", "rebel-2", "simpo-1"}
    assert "collect_prompts" not in planned  # the prompts do not depend on it
    assert micro.planned_jobs(configfile=second(micro, {"reuse": []}))[0].policy == ""
    mistyped = micro.snakemake("--dry-run", configfile=second(micro, {"reuse": ["results/others"]}))
    assert mistyped.returncode == 1
    assert "error: reuse.0: there is no folder 'results/others'" in mistyped.stderr


def test_other_libraries_take_nothing(micro: Project) -> None:
    """The environments of conda have the same versions as the embedded one, and vLLM, which that one has not."""
    config = second(micro, {"environments": "conda"})
    planned = micro.planned(configfile=config)
    assert planned["generate_responses"] >= {"base"}
    assert "collect_prompts" not in planned
    shown = " ".join(micro.command("plan", "--configfile", config).stdout.split())
    assert f"generate_responses is not taken: vllm none -> {pins('vllm.yaml')['vllm']}" in shown


def test_a_flipped_bit_is_noticed_and_the_result_is_made_again(scratch_micro: Project) -> None:
    damaged = scratch_micro.folder / FIRST / "base/pairs/train-000.parquet"
    content = bytearray(damaged.read_bytes())
    content[BYTE_OF_DATA] ^= 4
    damaged.write_bytes(content)
    config, target = second(scratch_micro, {}), str(SECOND / "base/pairs/train-000.parquet")
    finished = scratch_micro.snakemake(target, configfile=config)
    assert finished.returncode == 0, finished.stderr
    assert "not taken, but made here: results/micro/base/pairs/train-000.parquet: this file is not" in finished.stderr
    made = scratch_micro.folder / target
    verify(made)
    content[BYTE_OF_DATA] ^= 4
    assert made.read_bytes() == bytes(content)
