"""vLLM for real, on the CPU, in an environment of its own that `make test` sets up (`.venv-vllm`)."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from benchmark_questions import save_questions
from benchmark_suites import evaluation_python
from experiments import patch
from judge_server import JudgeServer
from project import Project, copy_project, programs
from rlhf.base.artifacts import read_provenance
from rlhf.base.provenance import digest
from rlhf.benchmarks.schema import BENCHMARK
from rlhf.models.tokenizers import load_tokenizer
from rlhf.prompts.schema import PROMPTS
from rlhf.responses.schema import RESPONSES
from rlhf.training.schema import TRAINING
from sampling_by_definition import left_over
from vllm_environment import python_with_vllm

POLICY = "results/micro/world/policy"


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter that has vLLM."""
    return python_with_vllm()


@pytest.fixture(scope="module")
def project(python: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The micro experiment with vLLM, run up to a trained policy."""
    project = copy_project(tmp_path_factory.mktemp("vllm"))
    project.python = python
    config = project.read_config()
    config["responses"]["engine"] = "vllm"
    config["prompts"]["part_size"] = 8
    config["tiny"]["network"]["heads"] = 1  # vLLM has kernels for heads of width 32 and more
    project.run("results/micro/simpo-1/checkpoint", configfile=project.write_config(config, "vllm"))
    return project


def generate(project: Project, output: Path, policy: str = POLICY, **changes: Any) -> list[dict[str, Any]]:
    """Run the program by hand with a changed spec; the rows."""
    results = project.folder / "results/micro"
    spec = {**read_provenance(results / "base/responses/train-000.parquet")["spec"], **changes}
    flags = ["--prompts", results / "prompts.parquet", "--policy", project.folder / policy, "--output", output]
    command = [project.python, "scripts/generate_responses.py", "--spec", json.dumps(spec), *map(str, flags)]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "tokens " in done.stderr
    return RESPONSES.read(output).to_pylist()


def test_a_part_through_the_rule_and_on_to_a_trained_policy(project: Project) -> None:
    results = project.folder / "results/micro"
    rows = RESPONSES.read(results / "base/responses/train-000.parquet").to_pylist()
    assert len(rows) == 8 * 3
    tokenizer = load_tokenizer(str(project.folder / POLICY))
    for row in rows:
        ids = row["response_token_ids"]
        assert row["finish_reason"] == ("stop" if ids[-1] == tokenizer.eos_token_id else "length")
        assert len(ids) <= 24
        assert len(ids) == 24 or row["finish_reason"] == "stop"
        assert row["response"] == tokenizer.decode(ids, skip_special_tokens=True)
        assert tokenizer.bos_token_id not in ids
    assert len({tuple(row["response_token_ids"]) for row in rows}) > 16
    assert "vllm" in read_provenance(results / "base/responses/train-000.parquet")["spec"]["engine"]
    assert len(TRAINING.read(results / "simpo-1/training.parquet")) > 1


@pytest.mark.slow
def test_another_part_gives_the_same_responses(project: Project, tmp_path: Path) -> None:
    whole = RESPONSES.read(project.folder / "results/micro/base/responses/train-000.parquet").to_pylist()
    part = generate(project, tmp_path / "part.parquet", rows={"start": 2, "stop": 5})
    assert part == whole[2 * 3 : 5 * 3]


@pytest.mark.slow
def test_the_first_token_has_the_distribution_of_the_settings(project: Project, tmp_path: Path) -> None:
    """3,000 draws; the largest deviation stays below five standard errors."""
    count, limits = 3000, {"top_p": 0.9, "top_k": 20, "min_p": 0.02}
    settings = {"draws": count, "max_tokens": 1, "temperature": 1.3, **limits}
    rows = generate(project, tmp_path / "draws.parquet", rows={"start": 0, "stop": 1}, **settings)
    prompt = PROMPTS.read(project.folder / "results/micro/prompts.parquet").to_pylist()[0]["prompt_token_ids"]
    model = AutoModelForCausalLM.from_pretrained(project.folder / POLICY, dtype=torch.float32)
    with torch.inference_mode():
        logits = model(torch.tensor([prompt])).logits[0, -1]
    exact = left_over(torch.softmax(logits / 1.3, dim=-1).numpy(), **limits)
    drawn = [row["response_token_ids"][0] for row in rows]
    observed = np.bincount(drawn, minlength=len(exact)) / count
    assert observed[exact == 0].sum() == 0
    assert (np.abs(observed - exact) <= 5 * np.sqrt(exact * (1 - exact) / count) + 1e-12).all()
    assert (exact > 0).sum() > 3


@pytest.mark.slow
def test_a_model_without_generation_config(project: Project, tmp_path: Path) -> None:
    shutil.copytree(project.folder / POLICY, project.folder / "plain")
    for name in ("generation_config.json", "SHA256SUMS"):  # as a model of a user's own
        (project.folder / "plain" / name).unlink()
    rows = generate(project, tmp_path / "plain.parquet", "plain", rows={"start": 0, "stop": 2})
    whole = RESPONSES.read(project.folder / "results/micro/base/responses/train-000.parquet").to_pylist()
    assert rows == whole[: 2 * 3]


GIVEN_UP = """
import sys
from rlhf.responses.engines.vllm import VllmEngine
from rlhf.responses.engine import Request
from rlhf.base.errors import UserError
from rlhf.responses.settings import SamplingSettings


class AbortingProgress:
    def advance(self, *arguments, **values):
        engine.llm.llm_engine.abort_request(["2"])


if __name__ == "__main__":
    sampling = SamplingSettings(max_tokens=24, precision="float32")
    engine = VllmEngine(sys.argv[1], None, sampling, gpus=0, threads=1)
    # The first request ends at its first token; the third would go on.
    requests = [Request(f"prompt-{n}", [n + 5, 6, 7], [n]) for n in range(3)]
    engine.stop_ids = list(range(0, 400, 2))
    try:
        engine.sample(requests, AbortingProgress())
    except UserError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_response_that_vllm_gives_up_is_an_error(project: Project, tmp_path: Path) -> None:
    program = tmp_path / "given_up.py"
    program.write_text(GIVEN_UP)
    command = [project.python, program, project.folder / POLICY]
    environment = {**os.environ, "PYTHONPATH": str(project.folder / "scripts")}
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, env=environment)
    assert done.stdout.startswith("vLLM aborted a response to prompt prompt-2 ("), done.stderr[-3000:]


@pytest.mark.slow
def test_a_benchmark_of_a_policy_that_is_served(project: Project) -> None:
    """vLLM's server answers the alpaca_eval package; all is stopped at the end, and a second run starts no server."""
    target = project.folder / "results/micro/base/benchmarks/alpaca_eval.parquet"
    served = Project(project.folder, evaluation_python())
    data = save_questions(project.folder / "questions")["alpaca_eval"]
    with JudgeServer(lambda message: {"m": 0.75, "M": 0.25}) as server:
        run = {"alpaca_eval": {"data": str(data), "max_tokens": 8}}
        benchmarks = {"run": run, "judge": {"url": server.url, "model": "judge"}}
        hide = {"open": "<think>", "close": "</think>"}  # the relay reads the token ids that vLLM gives it
        changes = {"benchmarks": benchmarks, "hardware.run_benchmark": {"gpu": 0, "threads": 1}, "responses.hide": hide}
        config = served.write_config(patch(served.read_config("vllm"), changes), "served")
        arguments = str(target.relative_to(project.folder))
        served.run(arguments, configfile=config)
        rows = BENCHMARK.read(target).to_pylist()
        assert {row["score"] for row in rows} == {0.75, 0.25}  # which one is shown first differs
        assert all(row["tokens"] and 0 < row["tokens"] <= 8 for row in rows)
        assert not programs(served, "run_benchmark")
        content, judged = digest(target), len(server.bodies)
        target.unlink()
        served.run(arguments, configfile=config)
        assert digest(target) == content
        assert len(server.bodies) == judged
        log = project.folder / "logs/micro/run_benchmark/base/alpaca_eval.log"
        assert "12 of 12 requests" in log.read_text()
        assert "asked now 0," in log.read_text()
