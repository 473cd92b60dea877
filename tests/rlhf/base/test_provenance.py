"""What an artifact records of its origin."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from rlhf.base import provenance as provenance_module
from rlhf.base.names import Rows
from rlhf.base.provenance import digest, fingerprint, installed_versions, provenance
from rlhf.base.source_digest import SCRIPTS, source_digest
from rlhf.pairs.settings import PairSpec

SPEC = PairSpec(rows=Rows(start=-4, stop=0), choose="best_worst", target_margin=None, min_margin=0.5, seed=None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "deep" / "weights").write_bytes(bytes(range(256)) * 40)
    return tmp_path / "model"


def test_record(folder: Path) -> None:
    program = str(SCRIPTS / "build_pairs.py")
    config, weights = folder / "config.json", folder / "deep" / "weights"
    record = provenance(program, SPEC, {"model": folder, "parts": [config, weights]}, counts={"pairs": 3})
    assert json.loads(json.dumps(record)) == record
    rows = {"start": -4, "stop": 0}
    choice = {"choose": "best_worst", "target_margin": None, "min_margin": 0.5, "seed": None}
    assert record["spec"] == {"rows": rows, **choice}
    assert record["code"] == source_digest(Path(program))
    assert record["inputs"] == {"model": fingerprint(folder), "parts": [digest(config), digest(weights)]}
    assert record["versions"]["pyarrow"] == installed_versions()["pyarrow"]
    assert record["counts"] == {"pairs": 3}


def test_digest_of_a_file_is_of_its_bytes(folder: Path) -> None:
    path = folder / "config.json"
    assert digest(path) == hashlib.sha256(b"{}").hexdigest()[:16]
    assert digest(folder) == fingerprint(folder)


def test_fingerprint_is_blind_to_place_times_and_hidden_files(folder: Path, tmp_path: Path) -> None:
    before = fingerprint(folder)
    os.utime(folder / "config.json", (1, 1))
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock").write_text("x")
    (folder / ".hidden").write_text("x")
    assert fingerprint(folder) == before
    assert fingerprint(Path(shutil.copytree(folder, tmp_path / "copy"))) == before


@pytest.mark.parametrize("change", ["content", "name", "new", "gone"])
def test_fingerprint_sees(folder: Path, change: str) -> None:
    before = fingerprint(folder)
    if change == "content":
        (folder / "config.json").write_text("[]")
    elif change == "name":
        (folder / "config.json").rename(folder / "settings.json")
    elif change == "new":
        (folder / "more.json").write_text("")
    else:
        (folder / "config.json").unlink()
    assert fingerprint(folder) != before


def test_large_files_are_sampled_from_start_to_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance_module, "SAMPLED_BLOCKS", 4)
    monkeypatch.setattr(provenance_module, "BLOCK_BYTES", 100)
    weights = folder / "deep" / "weights"
    original = weights.read_bytes()
    before = fingerprint(folder)
    for position in (0, len(original) - 1):
        changed = bytearray(original)
        changed[position] ^= 1
        weights.write_bytes(changed)
        assert fingerprint(folder) != before
    weights.write_bytes(bytes(byte ^ 1 for byte in original))
    assert fingerprint(folder) != before
    weights.write_bytes(original + b"x")
    assert fingerprint(folder) != before
    weights.write_bytes(original)
    assert fingerprint(folder) == before
