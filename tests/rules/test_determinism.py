"""Equal inputs give equal bytes, whatever the cores and the folder; responses do not depend on the part size."""

import hashlib
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from experiments import patch
from project import WORLD, Project, copy_project, copy_with

COMPARED = (
    "prompts.parquet",
    *(
        f"base/{stage}/{part}.parquet"
        for stage in ("responses", "rewards", "pairs", "logprobs")
        for part in ("train-000", "train-001", "test-000")
    ),
    "rebel-1/training.parquet",
    "rebel-1/checkpoint/model.safetensors",
)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_one_core_and_two_cores_in_two_folders_give_equal_bytes(finished_micro: Project, tmp_path: Path) -> None:
    other = copy_with(finished_micro, tmp_path / "other", WORLD)  # which is made anew in `test_conda.py`
    other.run("results/micro/rebel-1/checkpoint", "--cores", "1")
    results = [project.folder / "results/micro" for project in (finished_micro, other)]
    different = [name for name in COMPARED if digest(results[0] / name) != digest(results[1] / name)]
    assert different == []


def test_another_part_size_gives_the_same_responses(finished_micro: Project, tmp_path: Path) -> None:
    other = copy_project(tmp_path)
    world = finished_micro.folder / "results/micro/world"
    shutil.copytree(world / "policy", tmp_path / "policy")
    shutil.copy(world / "prompts.parquet", tmp_path / "prompts.parquet")
    patches = {"base_model.name": "policy", "prompts.dataset": "prompts.parquet", "prompts.part_size": 8}
    config = other.write_config(patch(other.read_config(), patches), "other")
    other.run("results/micro/base/responses/train-000.parquet", configfile=config)
    columns = ["prompt_id", "draw", "response_token_ids", "finish_reason", "seed"]
    whole = pq.read_table(tmp_path / "results/micro/base/responses/train-000.parquet", columns=columns).to_pylist()
    parts = [
        row
        for part in ("train-000", "train-001")
        for row in pq.read_table(
            finished_micro.folder / f"results/micro/base/responses/{part}.parquet", columns=columns
        ).to_pylist()
    ]
    assert whole == parts
