"""What `make accept` keeps: changes of code in one or several steps, in one direction."""

from pathlib import Path

from workflow.records.accepted_code import AcceptedCode


def test_nothing_is_accepted_without_a_file(tmp_path: Path) -> None:
    codes = AcceptedCode.read(tmp_path / "accepted.json")
    assert codes.is_same("a", "a")
    assert not codes.is_same("a", "b")


def test_steps_are_followed_and_not_back(tmp_path: Path) -> None:
    path = tmp_path / "accepted.json"
    for made, asked in (("a", "b"), ("b", "c"), ("c", "a"), ("x", "c")):
        AcceptedCode.read(path).add(path, made, asked)
    codes = AcceptedCode.read(path)
    assert codes.is_same("a", "c")
    assert codes.is_same("x", "b")
    assert not codes.is_same("a", "x")
    assert not codes.is_same("d", "a")
    assert [found.name for found in tmp_path.iterdir()] == ["accepted.json"]
