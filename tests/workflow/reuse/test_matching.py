"""A result of another experiment is taken only if all that made it is the same."""

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlhf.base.files.folders import whole_folder, write_folder_provenance
from rlhf.logprobs.schema import LOGPROBS
from workflow.records.accepted_code import AcceptedCode
from workflow.reuse.matching import OtherExperiment, Wanted, other_experiments

NOTHING = AcceptedCode({})
COMMIT = "c0ffee" + 34 * "0"
OUTPUT = Path("base/logprobs/train-000.parquet")
ORIGIN: dict[str, Any] = {
    "spec": {"temperature": 0.8, "model": {"name": "a/b", "revision": None}},
    "code": "new",
    "inputs": {"pairs": "p1", "policy": ["f1"]},
    "versions": {"torch": "2.9", "numpy": "2.3"},
    "model_revision": COMMIT,
}
WANTED = Wanted(
    outputs=(OUTPUT,),
    spec=json.dumps(ORIGIN["spec"]),
    code="new",
    inputs={"policy": ["f1"], "pairs": ["p1"]},
    versions={"torch": "2.9"},
    commits=[COMMIT],
)


def experiment(folder: Path, accepted: AcceptedCode = NOTHING, **changes: Any) -> OtherExperiment:
    LOGPROBS.write(folder / OUTPUT, [], {**ORIGIN, **changes})
    return OtherExperiment(folder, accepted)


def test_the_same_is_found(tmp_path: Path) -> None:
    assert experiment(tmp_path).find(WANTED) == ([tmp_path / OUTPUT], None)
    assert experiment(tmp_path).find(replace(WANTED, commits=None)) == ([tmp_path / OUTPUT], None)
    assert OtherExperiment(tmp_path / "none", NOTHING).find(WANTED) == ([], None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spec": json.dumps({**ORIGIN["spec"], "temperature": 0.9})}, "temperature 0.8 -> 0.9"),
        ({"spec": json.dumps({**ORIGIN["spec"], "top_p": 1.0})}, "top_p none -> 1.0"),
        ({"code": "newer"}, "other code"),
        ({"inputs": {"policy": ["f1"], "pairs": ["p2"]}}, "other pairs"),
        ({"inputs": {"policy": ["f1"]}}, "other pairs"),
        ({"inputs": {**WANTED.inputs, "prompts": ["x"]}}, "other prompts"),
        ({"inputs": {"policy": ["f1", "f2"], "pairs": ["p1"]}}, "other policy"),
        ({"versions": {"torch": "3.0"}}, "torch 2.9 -> 3.0"),
        ({"versions": {"torch": "2.9+cpu"}}, "torch 2.9 -> 2.9+cpu"),
        ({"versions": {"torch": "2.9", "vllm": "1"}}, "vllm none -> 1"),
        ({"commits": ["d" * 40]}, "hub commit c0ffee00"),
    ],
)
def test_another_one_is_not_found_and_the_reason_is_said(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert experiment(tmp_path).find(replace(WANTED, **changes)) == ([], said)


def test_what_cannot_be_read_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = experiment(tmp_path)

    def refuse(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("workflow.reuse.matching.stated_origin", refuse)
    assert other.find(WANTED) == ([], f"Permission denied: {tmp_path / OUTPUT}")


def test_a_pinned_commit_is_known(tmp_path: Path) -> None:
    pinned = {**ORIGIN["spec"], "model": {"name": "a/b", "revision": COMMIT}}
    found, _ = experiment(tmp_path, spec=pinned).find(replace(WANTED, spec=json.dumps(pinned), commits=[]))
    assert found


def test_a_pin_is_met_by_any_build(tmp_path: Path) -> None:
    other = experiment(tmp_path, versions={"torch": "2.9+cpu"})
    assert other.find(WANTED)[0]
    assert other.find(replace(WANTED, versions={"torch": "2.9+cu130"})) == ([], "torch 2.9+cpu -> 2.9+cu130")


def test_accepted_code_is_the_same(tmp_path: Path) -> None:
    old = experiment(tmp_path, AcceptedCode({"old": ["new"]}), code="old")
    assert old.find(WANTED)[0]
    assert OtherExperiment(tmp_path, NOTHING).find(WANTED) == ([], "other code")


def test_all_outputs_are_needed(tmp_path: Path) -> None:
    other, both = experiment(tmp_path), replace(WANTED, outputs=(OUTPUT, Path("base/checkpoint")))
    assert other.find(both) == ([], None)
    with whole_folder(tmp_path / "base/checkpoint") as folder:
        write_folder_provenance(folder, ORIGIN)
    assert other.find(both)[0] == [tmp_path / OUTPUT, tmp_path / "base/checkpoint"]
    (tmp_path / "base/checkpoint/SHA256SUMS").unlink()
    assert other.find(both) == ([], "no checksum")
    (tmp_path / OUTPUT).write_bytes(b"PAR1")
    assert other.find(WANTED) == ([], "no provenance")


def test_folders_of_one_experiment_and_of_several(tmp_path: Path) -> None:
    for name in ("one", "two", "own"):
        (tmp_path / name / "base").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    (tmp_path / "two/accepted.json").write_text('{"a": ["b"]}')
    own, folders = tmp_path / "own", [str(tmp_path / "two"), str(tmp_path)]
    found = other_experiments(folders, own, AcceptedCode({"b": ["c"]}))
    assert [each.folder.name for each in found] == ["two", "one"]
    assert [each.accepted.is_same("a", "c") for each in found] == [True, False]
