"""Damage of every kind is noticed: single bits in Parquet artifacts and model folders, whatever the time says."""

import hashlib
import os
import random
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlhf.base.artifacts import Artifact, find_provenance
from rlhf.base.files.checksums import DamagedError, stated_checksum, verify, verify_if_sealed
from rlhf.base.files.folders import whole_folder

SCORES = Artifact(
    "scores", pa.schema([pa.field("name", pa.string(), nullable=False), ("score", pa.float32())]), ("name",)
)
ROWS = [{"name": f"row-{i}", "score": i / 7} for i in range(200)]
SPEC = {"spec": {"a": 1}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "scores.parquet"
    SCORES.write(path, ROWS, SPEC)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with whole_folder(tmp_path / "model") as temporary:
        (temporary / "weights.safetensors").write_bytes(random.Random(0).randbytes(3000))
        (temporary / "part").mkdir()
        (temporary / "part/config.json").write_text("{}")
    return tmp_path / "model"


def test_the_checksum_is_that_of_the_bytes_with_zeros_in_its_place(file: Path) -> None:
    stated = stated_checksum(file)
    assert stated is not None
    content = file.read_bytes()
    assert content.count(stated.encode()) == 1
    assert hashlib.sha256(content.replace(stated.encode(), b"0" * 64)).hexdigest() == stated


def test_other_rows_or_another_origin_is_another_checksum(file: Path, tmp_path: Path) -> None:
    SCORES.write(tmp_path / "same.parquet", ROWS, SPEC)
    SCORES.write(tmp_path / "rows.parquet", ROWS[:-1], SPEC)
    SCORES.write(tmp_path / "origin.parquet", ROWS, {"spec": {"a": 2}})
    found = [stated_checksum(tmp_path / f"{name}.parquet") for name in ("scores", "same", "rows", "origin")]
    assert found[0] == found[1]
    assert len(set(found)) == 3


@pytest.mark.parametrize("keep_time", [False, True])
def test_no_flipped_bit_of_a_file_is_read(keep_time: bool, file: Path) -> None:
    content, status = file.read_bytes(), file.stat()
    chance = random.Random(keep_time)
    for position in chance.sample(range(8 * len(content)), 500):
        SCORES.read(file)
        file.write_bytes(flipped(content, position))
        if keep_time:
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        with pytest.raises(DamagedError, match=f"{file}: this file is not as the pipeline wrote it"):
            SCORES.read(file)
        with pytest.raises(DamagedError):
            verify(file)
        file.write_bytes(content)


def test_damaged_provenance_is_refused(file: Path) -> None:
    content = file.read_bytes()
    assert content.count(b'"a":1') == 1
    file.write_bytes(content.replace(b'"a":1', b'"a":2'))
    with pytest.raises(DamagedError):
        find_provenance(file)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"text", b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_no_parquet_file_is_refused_with_its_name(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(DamagedError, match=str(file)):
        SCORES.read(file)


def test_a_file_without_a_checksum_is_refused(file: Path) -> None:
    pq.write_table(pq.read_table(file).replace_schema_metadata(), file)
    with pytest.raises(DamagedError):
        SCORES.read(file)
    verify_if_sealed(file)  # it may be a user's own dataset


@pytest.mark.parametrize("name", ["weights.safetensors", "part/config.json", "SHA256SUMS"])
def test_no_flipped_bit_of_a_folder_is_read(name: str, folder: Path) -> None:
    path = folder / name
    content = path.read_bytes()
    for position in random.Random(1).sample(range(8 * len(content)), min(100, 8 * len(content))):
        verify(folder)
        path.write_bytes(flipped(content, position))
        with pytest.raises(DamagedError, match=f"{folder}: "):
            verify(folder)
        path.write_bytes(content)


def test_added_and_removed_files_are_named(folder: Path) -> None:
    (folder / "added_tokens.json").write_text("{}")
    with pytest.raises(DamagedError, match=r"`added_tokens.json` does not match `SHA256SUMS`"):
        verify(folder)
    (folder / "added_tokens.json").unlink()
    (folder / ".snakemake_timestamp").touch()
    verify(folder)
    (folder / "part/config.json").unlink()
    with pytest.raises(DamagedError, match=r"`part/config.json`"):
        verify(folder)


def test_sha256sum_agrees(folder: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True, capture_output=True)


def flipped(content: bytes, position: int) -> bytes:
    changed = bytearray(content)
    changed[position // 8] ^= 1 << position % 8
    return bytes(changed)
