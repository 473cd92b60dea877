"""Folders that are written and removed: whole, or not there at all."""

from pathlib import Path

import pytest

from rlhf.base.files.folders import remove_folder, whole_folder


def test_the_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "checkpoint"
    with whole_folder(target) as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "file").write_text("content")
        assert not target.exists()
        assert temporary.parent == target.parent  # the same file system: the rename is atomic
    assert (target / "inner" / "file").read_text() == "content"
    assert list(target.parent.iterdir()) == [target]


def test_an_older_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "checkpoint"
    target.mkdir()
    (target / "stale").write_text("old")
    with whole_folder(target) as temporary:
        (temporary / "fresh").write_text("new")
        assert (target / "stale").exists()
    assert sorted(path.name for path in target.iterdir()) == ["SHA256SUMS", "fresh"]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "checkpoint"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(RuntimeError, match="half way"), whole_folder(target) as temporary:
        (temporary / "half").write_text("half")
        raise RuntimeError("half way")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert [path.name for path in target.iterdir()] == ["old"]


def test_a_killed_removal_does_not_stop_the_next(tmp_path: Path) -> None:
    half = tmp_path / ".checkpoint.removed"
    half.mkdir()
    (half / "weights").write_text("left")
    target = tmp_path / "checkpoint"
    target.mkdir()
    (target / "weights").write_text("old")
    with whole_folder(target) as temporary:
        (temporary / "weights").write_text("new")
    assert (target / "weights").read_text() == "new"
    remove_folder(target)
    assert not list(tmp_path.iterdir())
