"""What the rules ask for: memory and time that grow at a retry, and what Slurm is told."""

from typing import Any

import pytest

from experiments import MICRO, PUBLISHED, experiment
from rlhf.base.errors import UserError
from workflow.requests import Requests, growing, slurm_request, training_slurm_request


def requests(name: str = PUBLISHED, gpus: dict[str, int] | None = None, **patches: Any) -> Requests:
    return Requests.of(experiment(name, **patches), gpus or {})


def test_memory_and_time_grow_at_each_retry() -> None:
    assert [growing(60)(None, attempt) for attempt in (1, 2, 3)] == [60, 120, 180]


def test_a_gpu_job_asks_for_one_task_on_one_node() -> None:
    asked = requests().gpu("score_responses")
    assert {name: asked[name] for name in ("nodes", "tasks_per_gpu", "gpu", "gpu_request", "token_budget")} == {
        "nodes": 1,
        "tasks_per_gpu": 0,
        "gpu": 1,
        "gpu_request": 1,
        "token_budget": "auto",
    }
    assert (asked["mem_mb"](None, 2), asked["runtime"](None, 2)) == (128000, 720)


def test_the_published_training_asks_for_eight_gpus_on_one_node_and_time_to_save() -> None:
    asked = requests().train_policy()
    assert (asked["gpu"], asked["gpu_request"], asked["processes"], asked["nodes"]) == (8, 8, 8, 1)
    assert asked["strategy"] == "zero3"
    assert asked["slurm_extra"] == f"--signal=TERM@{asked['stop_seconds']}"
    assert asked["stop_seconds"] >= 120
    assert isinstance(asked["mem_mb"], int)  # the same at a retry


def test_gpus_are_spread_evenly_over_nodes() -> None:
    asked = requests(hardware__train_policy__nodes=2)
    extra = training_slurm_request(asked.training)["slurm_extra"]
    assert "--gpus-per-node=4" in extra
    assert slurm_request(2) == {"nodes": 2, "tasks_per_gpu": 0, "tasks": 2, "mpi": "srun"}


def test_a_profile_gives_other_gpus_and_what_was_asked_is_kept() -> None:
    asked = requests(gpus={"score_responses": 2, "train_policy": 16})
    assert asked.gpu("score_responses")["gpu_request"] == 2
    assert asked.train_policy()["processes"] == 16


def test_gpus_of_a_profile_that_do_not_suit_the_training_are_refused() -> None:
    with pytest.raises(UserError, match="train_policy:gpu=3 of the profile"):
        requests(gpus={"train_policy": 3}, hardware__train_policy__processes=8)


def test_a_job_without_a_gpu_asks_for_what_its_size_needs() -> None:
    asked = requests(MICRO).cpu("build_pairs")
    assert asked["mem_mb"](None, 1) == 1000
    assert not {"gpu", "nodes"} & asked.keys()


def test_disk_is_asked_for_where_the_size_of_the_model_is_known() -> None:
    known = requests().train_policy()["disk_mb"]
    assert known(type("Wildcards", (), {"policy": "rebel-1"})) == 229_666
    assert "disk_mb" not in requests(MICRO).train_policy()
