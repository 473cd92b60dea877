"""GPUs that a rule asks for, and what becomes of a job that does not get them."""

import re

import pytest

from experiments import patch
from project import Project

LOGPROBS = "results/micro/base/logprobs/test-000.parquet"


def resources_of(rule: str, dry_run: str) -> dict[str, str]:
    """Those of the first job of a rule in a dry run."""
    listed = re.search(rf"^rule {rule}:.*?^    resources: (.*?)$", dry_run, re.MULTILINE | re.DOTALL)
    assert listed is not None, dry_run
    return dict(item.split("=", 1) for item in listed[1].split(", "))


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (["--resources", "gpu=0"], r"error: this job asks for 1 GPU\(s\), and Snakemake grants it 0: raise the limit"),
        (
            [],
            r"error: this job asks for 1 GPU\(s\) and sees 0\. To run on the CPU, set its `gpu` under `hardware`",
        ),
    ],
    ids=["Snakemake shrinks the request", "a machine without GPUs"],
)
def test_a_gpu_job_without_its_gpu_stops_and_says_why(limit: list[str], expected: str, scratch_micro: Project) -> None:
    project = scratch_micro
    (project.folder / LOGPROBS).unlink()
    config = project.write_config(patch(project.read_config(), {"hardware.compute_logprobs.gpu": 1}), "gpu")
    done = project.snakemake(LOGPROBS, *limit, configfile=config)
    assert done.returncode != 0
    assert re.search(expected, done.stdout + done.stderr), done.stdout + done.stderr
    assert not (project.folder / LOGPROBS).exists()


def test_a_profile_may_give_training_other_gpus(micro: Project) -> None:
    changes = {"training.learning_rate": 2e-3, "hardware.train_policy": {"gpu": 8, "threads": 3}}
    config = micro.write_config(patch(micro.read_config(), changes), "gpus")
    for more, expected in (([], "8"), (["--set-resources", "train_policy:gpu=4"], "4")):
        planned = micro.snakemake("--dry-run", *more, "--cores", "64", configfile=config)
        found = resources_of("train_policy", planned.stdout + planned.stderr)
        assert [found[name] for name in ("gpu", "gpu_request", "processes")] == [expected] * 3
        assert found["strategy"] == "zero3"
        assert f"threads: {3 * int(expected)}" in planned.stdout + planned.stderr


def test_gpus_of_a_profile_that_do_not_fit_stop_the_plan(micro: Project) -> None:
    changes = {"hardware.train_policy": {"gpu": 4, "nodes": 2, "processes": 4}}
    config = micro.write_config(patch(micro.read_config(), changes), "gpus")
    refused = micro.snakemake("--dry-run", "--set-resources", "train_policy:gpu=3", configfile=config)
    assert refused.returncode != 0
    assert "error: train_policy:gpu=3 of the profile: " in refused.stdout + refused.stderr
    assert "3 GPU(s) for 4 process(es)" in refused.stdout + refused.stderr


def test_each_retry_asks_for_more_memory_and_time(scratch_micro: Project) -> None:
    """The job fails each time; the limits that Snakemake then tells of grow."""
    project = scratch_micro
    (project.folder / LOGPROBS).unlink()
    changes = {"hardware.compute_logprobs": {"gpu": 1, "mem_mb": 1000, "runtime": 10}}
    config = project.write_config(patch(project.read_config(), changes), "retries")
    done = project.snakemake(LOGPROBS, "--retries", "2", configfile=config)
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert sorted(set(re.findall(r"mem_mb=(\d+)", output))) == ["1000", "2000", "3000"], output
    assert sorted(set(re.findall(r"runtime=(\d+)", output))) == ["10", "20", "30"]
