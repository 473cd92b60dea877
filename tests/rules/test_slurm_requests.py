"""What the published experiment asks a real Slurm for, whose nodes pretend to have 8 GPUs, 128 CPUs and 1 TB."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from experiments import patch
from project import Project, copy_project
from rlhf.base.names import part_names
from rlhf.prompts.schema import PROMPTS
from slurm_cluster import NEEDS_SLURM, Machine, SlurmCluster
from test_slurm import fill_in, finish, start
from workflow.experiment import load_experiment

pytestmark = NEEDS_SLURM

BIG = Machine(cpus=128, memory_mb=1_000_000, gpus=8)
PUBLISHED = "llama3-8b-ultrafeedback"
RESULTS = Path("results") / PUBLISHED
TRAINED = RESULTS / "simpo-1/training.parquet"
FROM_THE_HUB = (
    *("base_model", "prompts", "rewards", "evaluation.judge"),
    *(f"benchmarks.run.{name}" for name in ("alpaca_eval", "mt_bench", "mmlu", "gsm8k")),
)
PROGRAMS = ("generate_responses", "score_responses", "compute_logprobs", "train_policy", "run_benchmark")
NO_MORE_THAN_FILES = ("--rerun-triggers", "mtime")
"""Snakemake's flag for results that do not say what they were made of, as those of `published`."""
STAND_IN = """
import argparse, os
from pathlib import Path

parser = argparse.ArgumentParser()
for flag in ("--output", "--metrics", "--checkpoint", "--exchanges"):
    parser.add_argument(flag, type=Path)
arguments, _ = parser.parse_known_args()
if arguments.checkpoint:
    arguments.checkpoint.mkdir()
if arguments.exchanges:
    arguments.exchanges.touch()
(arguments.output or arguments.metrics).write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
"""
"""Replaces a program, which would need the 8B model: it writes which GPUs it sees."""


class Request(NamedTuple):
    """What a job asked for and got."""

    nodes: int
    tasks: int
    cpus: int
    gpus: int
    memory_mb: int
    """Of each node."""


def published(folder: Path, **hardware: Any) -> Project:
    """The published experiment, without conda, pinned, with inputs that are no more than files."""
    project = fill_in(copy_project(folder))
    changes: dict[str, Any] = {f"hardware.train_policy.{key}": value for key, value in hardware.items()}
    pins = dict.fromkeys((f"{section}.revision" for section in FROM_THE_HUB), "a" * 40)
    changes |= {"environments": "embedded", "prompts.decontaminate": []}  # whose revisions are in a list
    changes |= {"benchmarks.judge.key_variable": ...}  # nobody asks it here
    config = patch(project.read_config(PUBLISHED), {**pins, **changes})
    project.write_config(config, PUBLISHED)
    for program in PROGRAMS:
        (folder / f"scripts/{program}.py").write_text(STAND_IN)
    prompts = load_experiment(config, PUBLISHED).prompts
    PROMPTS.write(folder / RESULTS / "prompts.parquet", [], {"spec": None})
    parts = [*part_names("train", prompts.train, prompts.part_size), "test-000"]
    files = [f"base/{artifact}/{part}.parquet" for artifact in ("pairs", "logprobs") for part in parts]
    files += [f"rebel-1/{name}.parquet" for name in ("training", "responses/train-000", "pairs/train-001")]
    for name in files:
        (folder / RESULTS / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / RESULTS / name).touch()
    (folder / RESULTS / "rebel-1/checkpoint").mkdir()
    return project
    return project


def requests(cluster: SlurmCluster, project: Project, *targets: Path) -> dict[str, Request]:
    """By the rule, of jobs that all have run to their end."""
    flags = ["--configfile", f"config/{PUBLISHED}.yaml", "--retries", "0", *NO_MORE_THAN_FILES]
    running = start(cluster, project, *map(str, targets), *flags)
    output = finish(running, 300)
    assert running.returncode == 0, output
    found = {}
    for line in cluster.run("scontrol", "--oneliner", "show", "job").splitlines():
        job = dict(word.split("=", 1) for word in line.split() if "=" in word)
        rule = job["Comment"].removeprefix("rule_").partition("_wildcards_")[0]
        assert job["JobState"] == "COMPLETED"
        found[rule] = Request(
            nodes=int(job["NumNodes"]),
            tasks=int(job["NumTasks"]),
            cpus=int(job["NumCPUs"]),
            gpus=int(re.fullmatch(r"gres[:/]gpu[:=](\d+)", job["TresPerJob"])[1]),
            memory_mb=megabytes(job["MinMemoryNode"]),
        )
    return found


def megabytes(text: str) -> int:
    """Of `800000M` or `62.50G`, as Slurm counts them."""
    return round(float(text[:-1]) * {"M": 1, "G": 1024}[text[-1]])


def devices(project: Project, output: Path) -> int:
    return len((project.folder / output).read_text().split(","))


def test_each_gpu_rule_asks_for_one_task_on_one_node(tmp_path: Path) -> None:
    project = published(tmp_path / "project")
    targets = [
        RESULTS / "rebel-1/responses/test-000.parquet",
        RESULTS / "rebel-1/rewards/train-000.parquet",
        RESULTS / "rebel-1/judgements/train-000.parquet",
        RESULTS / "rebel-1/logprobs/train-001.parquet",
        RESULTS / "rebel-1/benchmarks/mt_bench.parquet",
    ]
    with SlurmCluster(tmp_path / "cluster", machine=BIG) as cluster:
        found = requests(cluster, project, TRAINED, *targets)
    one_gpu = Request(nodes=1, tasks=1, cpus=8, gpus=1, memory_mb=64_000)
    assert found == {
        "train_policy": Request(nodes=1, tasks=1, cpus=64, gpus=8, memory_mb=800_000),
        "generate_responses": one_gpu,
        "score_responses": one_gpu,
        "judge_responses": one_gpu,
        "compute_logprobs": one_gpu,
        "run_benchmark": one_gpu,
    }
    assert devices(project, TRAINED) == 8
    assert {devices(project, target) for target in targets} == {1}


def test_a_training_on_two_nodes_asks_for_a_task_on_each(tmp_path: Path) -> None:
    project = published(tmp_path / "project", nodes=2, gpu=16)
    with SlurmCluster(tmp_path / "cluster", nodes=2, machine=BIG) as cluster:
        found = requests(cluster, project, TRAINED)
    assert found == {"train_policy": Request(nodes=2, tasks=2, cpus=128, gpus=16, memory_mb=800_000)}


def test_each_of_two_nodes_gives_as_many_gpus(tmp_path: Path) -> None:
    """Slurm, asked for 8 GPUs on two nodes, takes 7 of the one and 1 of the other."""
    project = published(tmp_path / "project", nodes=2, gpu=8)
    with SlurmCluster(tmp_path / "cluster", nodes=2, machine=BIG) as cluster:
        found = requests(cluster, project, TRAINED)
    assert found == {"train_policy": Request(nodes=2, tasks=2, cpus=64, gpus=8, memory_mb=800_000)}
    assert devices(project, TRAINED) == 4
