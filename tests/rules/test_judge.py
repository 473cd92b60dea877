"""A language model as the judge of the rewards: the whole pipeline against a local server."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from judge_server import JudgeServer, prefers
from project import WORLD, Project, copy_project, copy_with, finish_run, is_settled, kill_run, start_run, wait_for
from rlhf.base.artifacts import read_provenance
from rlhf.evaluation.schema import EVALUATION
from rlhf.prompts.schema import PROMPTS
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.schema import REWARDS
from rlhf.tiny.language.grammar import true_quality

KEY = "sk-c2VjcmV0IG9mIGEganVkZ2U"


def quality(prompt: str, response: str) -> float:
    return true_quality([prompt], [response])[0]


def by_length(prompt: str, response: str) -> float:
    return float(len(response))


def judged_by(server: JudgeServer, **settings: Any) -> dict[str, Any]:
    return {"kind": "llm", "url": server.url, "model": "judge", "key_variable": "JUDGE_KEY", **settings}


@pytest.fixture
def project(finished_micro: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Micro before any reward."""
    monkeypatch.setenv("JUDGE_KEY", KEY)
    project = copy_with(finished_micro, tmp_path / "project", WORLD, "prompts.parquet", "base")
    for name in ("rewards", "judgements", "pairs", "logprobs", "evaluation.parquet", "comparisons.parquet"):
        path = project.folder / "results/micro/base" / name
        subprocess.run(["rm", "-r", str(path)], check=True)
    return project


TARGETS = [f"results/micro/base/rewards/{part}.parquet" for part in ("train-000", "train-001", "test-000")]


def score(project: Project, server: JudgeServer, *targets: str, **settings: Any) -> subprocess.Popen[str]:
    """Start a run in a process group of its own."""
    config = project.read_config()
    config["rewards"] = judged_by(server, **settings)
    path = project.write_config(config, "judged")
    return start_run(project, *targets, "--configfile", path)


@pytest.mark.slow
def test_through_faults_and_kill_9_nothing_is_asked_twice_and_the_scores_are_the_same(
    project: Project, tmp_path: Path
) -> None:
    faults = [429, 500, "drop", "slow", 503, "Hm.", 429]
    with JudgeServer(prefers(by_length), faults=["Hm."]) as calm:
        finish_run(score(project, calm, *TARGETS))
        expected = [REWARDS.read(project.folder / target) for target in TARGETS]
        requests = len(calm.answered)
    for target in TARGETS:
        (project.folder / target).unlink()
    shutil.rmtree(project.folder / "results/micro/judge_journal")
    with JudgeServer(prefers(by_length), faults=faults * 3, hold_from=requests // 3) as server:
        run = score(project, server, *TARGETS)
        assert server.held.wait(120)
        wait_for(lambda: is_settled(project, "judge_journal", server.answered.total), "journal of all answers")
        kill_run(run)
        server.hold_from = None
        server.go_on.set()
        finish_run(score(project, server, "--unlock"))
        finish_run(score(project, server, "--rerun-incomplete", *TARGETS))
        assert set(server.answered.values()) == {1}
    for target, table in zip(TARGETS, expected, strict=True):
        assert REWARDS.read(project.folder / target).equals(table)
    counted = read_provenance(project.folder / TARGETS[0])["judging"]
    assert counted["pairs"] > 0
    assert counted["disagreements"] == 0


@pytest.mark.slow
def test_key_and_texts_are_in_no_log_spec_or_provenance(project: Project) -> None:
    with JudgeServer(prefers(by_length), faults=[401]) as server:
        run = score(project, server, TARGETS[0])
        output, _ = run.communicate()
        assert run.returncode != 0
        assert "401" in output
        output += finish_run(score(project, server, TARGETS[0]))
    results = project.folder / "results/micro"
    prompts = PROMPTS.read(results / "prompts.parquet", ["prompt"])["prompt"].to_pylist()
    answers = RESPONSES.read(results / "base/responses/train-000.parquet", ["response"])["response"].to_pylist()
    texts = [text for text in [*prompts, *answers] if len(text) > 15]
    assert len(texts) > 10
    files = [path for name in ("logs", ".snakemake/log") for path in (project.folder / name).rglob("*")]
    said = output + "".join(path.read_text() for path in files if path.is_file())
    said += str(read_provenance(project.folder / TARGETS[0]))
    assert not [text for text in texts if text in said]
    everything = [path for path in project.folder.rglob("*") if path.is_file()]
    assert any("judge_journal" in path.parts for path in everything)
    assert not [path for path in everything if KEY.encode() in path.read_bytes()]


@pytest.mark.slow
def test_an_edited_template_reruns_the_scores(project: Project) -> None:
    template = project.folder / "mine.jinja"
    built_in = project.folder / "scripts/rlhf/rewards/judge/rating.jinja"
    template.write_text(built_in.read_text())
    ratings: Callable[[str], dict[str, float]] = lambda message: {"7": 1.0}  # noqa: E731
    with JudgeServer(ratings) as server:
        settings = {"mode": "rating", "template": "mine.jinja"}
        finish_run(score(project, server, TARGETS[0], **settings))
        assert "Nothing to be done" in finish_run(score(project, server, TARGETS[0], **settings))
        requests = len(server.bodies)
        template.write_text(template.read_text().replace("impartial", "strict"))
        finish_run(score(project, server, TARGETS[0], **settings))
        assert len(server.bodies) == 2 * requests
        assert "strict" in server.bodies[-1]["messages"][0]["content"]
    rewards = REWARDS.read(project.folder / TARGETS[0])["reward"].to_pylist()
    assert set(rewards) == {7.0}


@pytest.mark.slow
def test_a_judge_in_the_place_of_the_reward_model_trains_a_better_policy(tmp_path: Path) -> None:
    """The tiny experiment, with the grammar as the judge behind the server."""
    project = copy_project(tmp_path / "project")
    config = project.read_config("config")
    config["prompts"] |= {"train": 600, "test": 200}
    config["responses"]["draws"] = 3
    config["variants"] = {"dpo": {"loss": {"name": "dpo", "beta": 0.3}, "learning_rate": 1.0e-4}}
    with JudgeServer(prefers(quality)) as server:
        config["rewards"] = {"kind": "llm", "url": server.url, "model": "grammar"}
        project.run(configfile=project.write_config(config, "judged"))
        assert set(server.answered.values()) == {1}
    rows = {
        row["judge"]: row
        for row in EVALUATION.read(project.folder / "results/tiny/dpo-1/evaluation.parquet").to_pylist()
    }
    assert rows["judge"]["win_rate"] >= 0.6
    assert rows["reward"]["win_rate"] >= 0.6
