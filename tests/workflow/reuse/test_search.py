"""Jobs are looked at in the order of the data flow: what is made again takes all that follows with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from environment_pins import pins
from rlhf.base.provenance import digest, installed_versions
from rlhf.logprobs.schema import LOGPROBS
from workflow.reuse.search import Found, Reuse, pinned_versions

OWN, OTHER = Path("results/own"), Path("results/other")
CHAIN = ("prompts", "responses", "rewards")


class Inputs(dict[str, list[str]]):
    """Snakemake's list of input files, which also has their names."""

    def __iter__(self) -> Iterator[str]:
        return (path for paths in self.values() for path in paths)


class Job(SimpleNamespace):
    __hash__ = object.__hash__


class Parameters(SimpleNamespace):
    def keys(self) -> list[str]:
        return list(vars(self))


def job(name: str, made_from: str | None) -> Any:
    return Job(
        rule=SimpleNamespace(name=name, conda_env="../envs/data.yaml"),
        output=[str(OWN / f"{name}.parquet")],
        input=Inputs({made_from: [str(OWN / f"{made_from}.parquet")]} if made_from else {}),
        params=Parameters(spec=json.dumps({"of": name}), code="same"),
    )


class Graph:
    """A graph of jobs that all need to run."""

    def __init__(self, forced: str = "") -> None:
        self.jobs = [job(name, made_from) for name, made_from in zip(CHAIN, (None, *CHAIN), strict=False)]
        self.forced = forced

    def needrun_jobs(self) -> list[Any]:
        return []  # the order below is all that is asked for

    def toposorted(self, _: object) -> list[list[Any]]:
        return [[each] for each in self.jobs]

    def reason(self, each: Any) -> Any:
        return SimpleNamespace(forced=each.rule.name == self.forced)


@pytest.fixture(autouse=True)
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another experiment that has all of it."""
    monkeypatch.chdir(tmp_path)
    for name, made_from in zip(CHAIN, (None, *CHAIN), strict=False):
        inputs = {made_from: digest(OTHER / f"{made_from}.parquet")} if made_from else {}
        origin = {"spec": {"of": name}, "code": "same", "inputs": inputs, "versions": installed_versions()}
        LOGPROBS.write(OTHER / f"{name}.parquet", [], origin)


def search(graph: Graph, *, plan: bool = True, asked: list[str] | None = None) -> Found:
    look_up = (lambda: asked.append("hub")) if asked is not None else lambda: None
    reuse = Reuse(("results",), OWN, OWN / "revisions.yaml", embedded=True, look_up=look_up)
    found = Found()
    reuse.look(graph, found, plan=plan)
    return found


def names(found: Found) -> list[str]:
    return [each.rule.name for each in found.jobs]


def test_all_is_found_before_any_of_it_is_there() -> None:
    found = search(Graph())
    assert names(found) == list(CHAIN)
    assert found.sources == {OWN / f"{name}.parquet": OTHER / f"{name}.parquet" for name in CHAIN}
    assert list(found.lines("taken")) == ["3 jobs taken from results/other: prompts (1), responses (1), rewards (1)."]


@pytest.mark.parametrize(
    ("forced", "kept"), [("prompts", []), ("responses", ["prompts"]), ("rewards", list(CHAIN[:2]))]
)
def test_what_follows_a_forced_job_is_made_too(forced: str, kept: list[str]) -> None:
    assert names(search(Graph(forced))) == kept


def test_what_was_made_from_another_file_is_not_taken() -> None:
    LOGPROBS.write(OTHER / "prompts.parquet", [], {"spec": {"of": "prompts"}, "code": "edited"})
    LOGPROBS.write(OWN / "prompts.parquet", [], {"spec": {"of": "prompts"}, "code": "same"})
    graph = Graph()
    del graph.jobs[0]  # it is there
    found = search(graph)
    assert names(found) == []
    assert list(found.lines("taken")) == ["responses is not taken: other prompts."]


def test_a_commit_that_this_run_did_not_look_up_is_not_taken() -> None:
    """That of a branch, say, which has moved since; a plan cannot know."""
    origin = {"spec": {"of": "prompts"}, "code": "same", "inputs": {}, "versions": installed_versions()}
    LOGPROBS.write(OTHER / "prompts.parquet", [], {**origin, "model_revision": 40 * "c"})
    assert names(search(Graph(), plan=False)) == []
    assert "prompts" in names(search(Graph(), plan=True))


def test_the_hub_is_asked_for_a_run_alone() -> None:
    asked: list[str] = []
    search(Graph(), plan=True, asked=asked)
    assert asked == []
    search(Graph(), plan=False, asked=asked)
    assert asked == ["hub"]


@pytest.mark.parametrize("name", ["data.yaml", "evaluation.yaml", "rebel.yaml", "report.yaml", "vllm.yaml"])
def test_the_versions_of_an_environment(name: str) -> None:
    found = pinned_versions(f"../envs/{name}")
    assert found
    assert found.items() <= pins(name).items()
    assert ("torch" in found) == (name == "rebel.yaml")
