"""The published folder holds links to the results, or copies, and nothing of an earlier publication."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rlhf.base.files.checksums import SUMS, DamagedError, verify
from rlhf.base.files.folders import whole_folder
from rlhf.publishing.folder import PublishedFolder, changed_sums


@pytest.fixture
def results(tmp_path: Path) -> Path:
    with whole_folder(tmp_path / "checkpoint") as folder:
        (folder / "weights").write_text("weights")
        (folder / "README.md").write_text("card")
        (folder / "adapter").mkdir()
        (folder / "adapter/config").write_text("config")
    (tmp_path / "checkpoint/.snakemake_timestamp").touch()
    return tmp_path / "checkpoint"


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def publish(results: Path, target: Path, card: str = "another card") -> None:
    published = PublishedFolder(target)
    published.link_folder(results, "models/a", without=["README.md", SUMS])
    published.write("models/a/README.md", card)
    published.write(f"models/a/{SUMS}", changed_sums(results, {"README.md": card}))
    published.remove_others()


def test_links_take_no_space_and_the_results_stay_as_they_are(results: Path, tmp_path: Path) -> None:
    publish(results, tmp_path / "published")
    made = tmp_path / "published/models/a"
    assert files(made) == {"weights", "README.md", "adapter/config", SUMS}
    assert (made / "weights").samefile(results / "weights")
    assert (made / "README.md").read_text() == "another card"
    verify(made)
    verify(results)
    assert (results / "README.md").read_text() == "card"
    (made / "README.md").write_text("edited")
    with pytest.raises(DamagedError, match=r"README\.md"):
        verify(made)


def test_a_second_publication_touches_what_is_new_alone(results: Path, tmp_path: Path) -> None:
    publish(results, tmp_path / "published")
    made = tmp_path / "published/models/a"
    before = {name: (made / name).stat() for name in files(made)}
    publish(results, tmp_path / "published")
    assert {name: (made / name).stat() for name in files(made)} == before
    (made / "old/shard").parent.mkdir()
    (made / "old/shard").touch()
    (made.parent / "b").mkdir()
    (results / "adapter/config").unlink()
    (results / "adapter/config").write_text("other")
    publish(results, tmp_path / "published", "a new card")
    assert files(made) == before.keys()
    assert (made / "adapter/config").read_text() == "other"
    assert (made / "README.md").read_text() == "a new card"
    assert sorted(path.name for path in made.parent.iterdir()) == ["a"]
    assert not (made / "old").exists()


def test_copies_are_made_once(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("another file system")

    monkeypatch.setattr(os, "link", refuse)
    publish(results, tmp_path / "published")
    made = tmp_path / "published/models/a/weights"
    assert made.read_text() == "weights"
    assert not made.samefile(results / "weights")
    before = made.stat()
    publish(results, tmp_path / "published")
    assert made.stat() == before
