"""Results are linked where that can be, and never a damaged one."""

import errno
import os
from pathlib import Path

import pytest

from rlhf.base.files.checksums import DamagedError, verify
from rlhf.base.files.folders import whole_folder, write_folder_provenance
from rlhf.logprobs.schema import LOGPROBS
from workflow.reuse.taking import take


@pytest.fixture
def file(tmp_path: Path) -> Path:
    LOGPROBS.write(tmp_path / "other/a.parquet", [], {"spec": {}})
    return tmp_path / "other/a.parquet"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with whole_folder(tmp_path / "other/checkpoint") as made:
        write_folder_provenance(made, {"spec": {}})
        (made / "adapter").mkdir()
        (made / "adapter/weights").write_text("weights")
    (tmp_path / "other/checkpoint/.snakemake_timestamp").touch()
    return tmp_path / "other/checkpoint"


def test_a_file_is_linked(file: Path, tmp_path: Path) -> None:
    take(file, tmp_path / "own/base/a.parquet", [])
    assert (tmp_path / "own/base/a.parquet").samefile(file)
    assert [path.name for path in (tmp_path / "own/base").iterdir()] == ["a.parquet"]


def test_a_folder_replaces_another_one(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "own/checkpoint"
    target.mkdir(parents=True)
    (target / "old").touch()
    take(folder, target, [])
    verify(target)
    assert {path.name for path in target.rglob("*")} == {"provenance.json", "adapter", "weights", "SHA256SUMS"}
    assert (target / "adapter/weights").samefile(folder / "adapter/weights")
    assert target.stat().st_mtime_ns == folder.stat().st_mtime_ns


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_one_older_than_what_it_was_made_from_is_copied(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source: Path = request.getfixturevalue(kind)
    os.utime(source, ns=(1, 1))
    pairs, target = tmp_path / "pairs.parquet", tmp_path / "own" / source.name
    pairs.touch()
    take(source, target, [pairs, tmp_path / "missing"])
    verify(target)
    assert target.stat().st_mtime_ns >= pairs.stat().st_mtime_ns
    assert source.stat().st_mtime_ns == 1
    one = Path("adapter/weights") if kind == "folder" else Path()
    assert not (target / one).samefile(source / one)


def test_where_nothing_can_be_linked_it_is_copied(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", refuse)
    for name in ("first", "second"):
        take(file, tmp_path / name, [])
        assert (tmp_path / name).read_bytes() == file.read_bytes()
        assert not (tmp_path / name).samefile(file)
        monkeypatch.setattr(os, "copy_file_range", refuse)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_damaged_one_is_not_taken(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    source: Path = request.getfixturevalue(kind)
    damaged = source / "adapter/weights" if kind == "folder" else source
    content = bytearray(damaged.read_bytes())
    content[4] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(DamagedError):
        take(source, tmp_path / "own", [])
    assert not (tmp_path / "own").exists()
