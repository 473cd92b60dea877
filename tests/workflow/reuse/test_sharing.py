"""Where runs tell each other what they compute, and for whom one waits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from workflow.reuse.claims import CLAIMS
from workflow.reuse.matching import Wanted
from workflow.reuse.search import Reuse
from workflow.reuse.sharing import Sharing, stores

WANTED = Wanted((Path("base/a.parquet"),), '{"seed":1}', "code", {"pairs": ["x", "y"]}, {"torch": "2.13.0"}, None)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for made in ("results/other/base", "team/theirs/base", "started/.claims", "dataset/data"):
        (tmp_path / made).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["results"], ["results"]),
        (["results/other"], ["results"]),
        (["team"], ["results", "team"]),
        (["team/theirs", "team"], ["results", "team"]),
        (["started"], ["results", "started"]),
        (["dataset", "missing"], ["results"]),
    ],
)
def test_claims_are_beside_the_experiments(folders: list[str], expected: list[str], folder: Path) -> None:
    assert stores(folders, Path("results/own")) == [folder / name for name in expected]
    (folder / "linked").symlink_to("results")
    assert stores(folders, Path("linked/own")) == [folder / name for name in expected]


def test_of_two_that_name_each_other_one_waits(folder: Path) -> None:
    """And one that takes nothing of the other does not wait for it."""

    def run(own: str, *folders: str) -> Sharing:
        made = Sharing(Reuse(folders, Path(own), Path(own, "revisions.yaml"), True, lambda: None))
        made._identities["job"] = "a1b2"
        return made

    mine, theirs, third = run("results/own", "team"), run("team/theirs", "results"), run("team/third", "started")
    (folder / "results/own/base").mkdir(parents=True)
    assert mine.claim("job") is None
    holder = theirs.claim("job")
    assert holder is not None
    assert Path(holder.results) == folder / "results/own"
    assert third.claim("job") is None
    mine.release("job")
    assert theirs.claim("job") is None
    for each in (mine, theirs, third):
        each.close()
    assert not (folder / "team" / CLAIMS).exists()


def test_what_is_compared_makes_another_identity() -> None:
    same = replace(WANTED, spec='{"seed": 1}', commits={"c"})
    assert same.identity() == WANTED.identity()
    others = [
        replace(WANTED, outputs=(Path("base/b.parquet"),)),
        replace(WANTED, spec='{"seed":2}'),
        replace(WANTED, code="edited"),
        replace(WANTED, inputs={"pairs": ["y", "x"]}),
        replace(WANTED, inputs={"logprobs": ["x", "y"]}),
        replace(WANTED, versions={"torch": "2.14.0"}),
    ]
    assert len({WANTED.identity(), *(other.identity() for other in others)}) == 1 + len(others)
