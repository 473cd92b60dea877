"""The benchmarks of several policies through Snakemake: the real libraries, a stand-in for vLLM, a judge that fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmark_questions import save_questions
from benchmark_server import judge
from benchmark_suites import evaluation_python
from experiments import patch
from judge_server import JudgeServer, Verdicts
from project import REPOSITORY, Project, finish_run, is_settled, journaled, kill_run, start_run, wait_for
from rlhf.base.artifacts import read_provenance
from rlhf.benchmarks.schema import BENCHMARK, SUMMARY

pytestmark = pytest.mark.slow
SUPPORT = REPOSITORY / "tests/support"
KEY = "sk-c2VjcmV0IG9mIGEganVkZ2U"
WHOLE = ("alpaca_eval", "arena_hard", "mt_bench", "mmlu", "gsm8k")
BENCHMARKS = WHOLE if os.environ.get("ALL_BENCHMARKS") else ("alpaca_eval", "gsm8k")
"""Five take a quarter of an hour: ALL_BENCHMARKS=1 runs them."""
TABLE = "results/micro/benchmarks.parquet"
POLICIES = ("base", "rebel-1", "simpo-1")
LOGS = ("logs", ".snakemake/log")


def fair(message: str) -> Verdicts:
    """A judge that counts a word."""
    said = judge({"messages": [{"content": message}]})
    assert not isinstance(said, int)
    return {said: 1.0} if isinstance(said, str) else said


@pytest.fixture
def project(finished_micro: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A finished micro with three policies; its programs get the stand-in for vLLM."""
    monkeypatch.setenv("JUDGE_KEY", KEY)
    monkeypatch.setenv("POLICY_ANSWERS", str(tmp_path / "answers.jsonl"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SUPPORT / "stand_in_vllm"), str(SUPPORT)]))
    shutil.copytree(finished_micro.folder, tmp_path / "project")
    save_questions(tmp_path / "project/questions")
    return Project(tmp_path / "project", evaluation_python())


def start(project: Project, server: JudgeServer, *arguments: str, **changes: Any) -> subprocess.Popen[str]:
    """Start a run in a process group of its own: of all benchmarks, unless a target is given."""
    run = {name: {"data": f"questions/{name}", "few_shot": 0} for name in BENCHMARKS}
    judged = {"url": server.url, "model": "judge", "key_variable": "JUDGE_KEY", "input_price": 1.0}
    edited = {"benchmarks": {"run": run, "judge": judged}, "hardware.run_benchmark": {"gpu": 0, "threads": 1}}
    config = patch(project.read_config(), {**edited, "variants.rebel.iterations": 1, **changes})
    path = project.write_config(config, "benchmarks")
    targets = [] if arguments and arguments[0].startswith("results/") else [TABLE]
    return start_run(project, *targets, *arguments, "--configfile", path)


def kill_everything(run: subprocess.Popen[str], project: Project) -> None:
    """kill -9 of Snakemake, of its jobs and of all that they started, the model servers among them."""
    kill_run(run)
    end = time.monotonic() + 60
    while left := subprocess.run(["pgrep", "-f", str(project.folder)], capture_output=True, text=True).stdout.split():
        assert time.monotonic() < end, f"processes outlive the run: {left}"
        time.sleep(0.2)


def answered_by_policies(tmp_path: Path) -> Counter[str]:
    return Counter((tmp_path / "answers.jsonl").read_text().splitlines())


def policies_are_journaled(project: Project, tmp_path: Path) -> bool:
    """Whether no answer of a policy is on its way."""
    answers = answered_by_policies(tmp_path).total()
    time.sleep(1)
    return answers == sum(journaled(project, f"benchmark_journal/{policy}") for policy in POLICIES)


def rows(project: Project) -> list[dict[str, Any]]:
    return SUMMARY.read(project.folder / TABLE).to_pylist()


def scores(project: Project) -> dict[tuple[str, str, str], float | None]:
    return {(row["benchmark"], row["policy"], row["metric"]): row["score"] for row in rows(project)}


def test_through_a_storm_and_kill_9_the_table_is_that_of_an_undisturbed_run(project: Project, tmp_path: Path) -> None:
    """And no request is answered twice, neither by a policy nor by the judge."""
    with JudgeServer(fair) as calm:
        assert_nothing_leaks(project, finish_run(start(project, calm)))
        undisturbed, requests = rows(project), calm.answered.total()
        assert set(calm.answered.values()) == {1}
    found = scores(project)
    assert found["alpaca_eval", "rebel-1", "score"] > 0.8 > 0.5 == pytest.approx(found["alpaca_eval", "base", "score"])
    assert found["gsm8k", "base", "score"] == pytest.approx(4 / 6)
    for name in BENCHMARKS:
        assert found[name, "simpo-1", "score"] == pytest.approx(found[name, "base", "score"])
    for name in ("benchmarks.parquet", "benchmark_journal", *(f"{policy}/benchmarks" for policy in POLICIES)):
        path = project.folder / "results/micro" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (tmp_path / "answers.jsonl").unlink()
    faults: list[int | str] = [429, 500, "drop", "slow", 503, "garbage"] * 3
    with JudgeServer(fair, faults=faults, hold_from=requests // 2) as server:
        run = start(project, server, "--retries", "0")
        assert server.held.wait(300)
        wait_for(lambda: is_settled(project, "benchmark_journal/judge", server.answered.total), "judge's journal")
        wait_for(lambda: policies_are_journaled(project, tmp_path), "journal of the policies")
        kill_everything(run, project)
        server.hold_from = None
        server.go_on.set()
        finish_run(start(project, server, "--unlock"))
        finish_run(start(project, server, "--rerun-incomplete"))
        assert set(server.answered.values()) == {1}
        assert server.answered.total() == requests
    assert set(answered_by_policies(tmp_path).values()) == {1}
    assert rows(project) == undisturbed


def assert_nothing_leaks(project: Project, output: str) -> None:
    """Texts are in results and journal alone, and the key is nowhere."""
    everything = [path for path in project.folder.rglob("*") if path.is_file()]
    assert not [path for path in everything if KEY.encode() in path.read_bytes()]
    said = output + "".join(path.read_text() for name in LOGS for path in (project.folder / name).rglob("*.log"))
    results = [path for policy in POLICIES for path in (project.folder / "results/micro" / policy).rglob("*/*.parquet")]
    said += "".join(str(read_provenance(path)) for path in results)
    found = BENCHMARK.read(project.folder / "results/micro/rebel-1/benchmarks/alpaca_eval.parquet").to_pylist()
    texts = [text for row in found for text in (*row["question"], *row["answer"])]
    assert len(texts) == 12
    assert not [text for text in texts if text in said]


def test_a_spent_budget_stops_and_more_goes_on(project: Project) -> None:
    """What was answered is kept, and paid for once. AlpacaEval asks the judge one question for each of 6."""
    target = "results/micro/rebel-1/benchmarks/alpaca_eval.parquet"
    with JudgeServer(fair) as server:
        stopped = start(project, server, target, "--retries", "0", **{"benchmarks.budget": {"requests": 4}})
        output, _ = stopped.communicate()
        assert stopped.returncode != 0
        assert "the budget of 4 requests is spent" in output
        assert server.answered.total() == 4
        finish_run(start(project, server, target, **{"benchmarks.budget": {"requests": 6}}))
        assert set(server.answered.values()) == {1}
        assert server.answered.total() == 6


def test_a_judge_that_the_job_serves_comes_after_the_policy(project: Project, tmp_path: Path) -> None:
    """On the same GPUs: each server is started once, and all of the policy's answers come first."""
    shutil.copytree(project.folder / "results/micro/world/policy", project.folder / "judges/fair")
    target = "results/micro/rebel-1/benchmarks/alpaca_eval.parquet"
    with JudgeServer(fair) as unused:
        finish_run(start(project, unused, target, **{"benchmarks.judge": {"model": "judges/fair"}}))
        assert not unused.bodies
    rows = BENCHMARK.read(project.folder / target).to_pylist()
    assert all(row["score"] > 0.8 for row in rows)
    asked = [Path(json.loads(line)[0]).name for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert asked == ["checkpoint"] * 6 + ["fair"] * 6
    servers = [path.name for path in (project.folder / "results/micro/benchmark_journal/servers").iterdir()]
    assert sorted(servers) == ["rebel-1-alpaca_eval-judge.log", "rebel-1-alpaca_eval-policy.log"]


def test_a_missing_key_stops_before_any_job(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY")
    with JudgeServer(fair) as server:
        run = start(project, server)
        output, _ = run.communicate()
    assert run.returncode != 0
    assert "the environment variable JUDGE_KEY (`benchmarks.judge.key_variable`) is not set" in output
    assert not (project.folder / "results/micro/benchmark_journal").exists()
