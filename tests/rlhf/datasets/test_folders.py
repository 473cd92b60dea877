"""The files of a local dataset, compared with what `datasets` takes."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlhf.base.errors import UserError
from rlhf.datasets.files import open_dataset
from rlhf.datasets.folders import is_local, local_files


def write(path: Path, *values: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"prompt": values}), path)
    return path


PATTERNS = """configs:
- config_name: a
  data_files: one/*.parquet
- config_name: default
  data_files: [two/x.parquet]
"""
SPLITS = """configs:
- config_name: a
  data_files: one/*.parquet
- config_name: b
  default: true
  data_files:
  - {split: test, path: two/*.parquet}
  - {split: train, path: [one/x.parquet, one/y.parquet]}
"""
CARDS = {PATTERNS: ("train",), SPLITS: ("test", "train")}


@pytest.fixture(params=CARDS, ids=["patterns", "splits"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, tuple[str, ...]]:
    for number, name in enumerate(("train-000", "train-001", "test-000", "one/x", "one/y", "two/x", "two/y")):
        write(tmp_path / f"{name}.parquet", f"{number}a", f"{number}b")
    (tmp_path / "README.md").write_text(f"---\n{request.param}---\ntext\n")
    return tmp_path, CARDS[request.param]


def test_splits_are_those_that_datasets_finds(folder: tuple[Path, tuple[str, ...]], tmp_path: Path) -> None:
    from datasets import load_dataset

    path, splits = folder
    for split in splits:
        expected = load_dataset(str(path), split=split, cache_dir=str(tmp_path / "cache"))["prompt"]
        with open_dataset(path, None, split, None) as (rows, commit):
            assert list(rows["prompt"]) == list(expected) and commit is None


def test_files_by_their_names(tmp_path: Path) -> None:
    parts = [write(tmp_path / f"{name}.parquet", name) for name in ("test-000", "train-000", "train-001")]
    (tmp_path / "notes.txt").write_text("no data")
    assert local_files(tmp_path, None, "train") == parts[1:]
    assert local_files(tmp_path, None, "test") == parts[:1]
    assert local_files(tmp_path, None, "train+test") == [*parts[1:], parts[0]]
    with open_dataset(tmp_path, None, "test+train", None) as (rows, _):
        assert list(rows["prompt"]) == ["test-000", "train-000", "train-001"]
    with pytest.raises(UserError, match=r"no split 'dev'; it has 'train', 'test'"):
        local_files(tmp_path, None, "dev")
    other = write(tmp_path / "any/b.parquet", "b")
    assert local_files(tmp_path / "any", None, "train") == [other]


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"a folder without files that end in \.parquet, \.jsonl, \.json"):
        local_files(empty, None, "train")
    write(tmp_path / "a.parquet", "a")
    configs = "".join(f"- config_name: {name}\n  data_files: {name}.parquet\n" for name in "ab")
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    for subset in (None, "c"):
        with pytest.raises(UserError, match=rf"no subset {subset!r}; it has 'a', 'b'"):
            local_files(tmp_path, subset, "train")
    pq.write_table(pa.table({"prompt": [1]}), tmp_path / "b.parquet")
    (tmp_path / "README.md").unlink()
    with (
        pytest.raises(UserError, match="its files have different columns"),
        open_dataset(tmp_path, None, "train", None),
    ):
        pass


def test_local_names(tmp_path: Path) -> None:
    assert is_local("none.jsonl") and is_local(str(tmp_path)) and not is_local("owner/name")
