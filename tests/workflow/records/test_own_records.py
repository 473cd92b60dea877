"""What a plan compares of a result: each setting, the code, and that it says anything at all."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlhf.base.files.folders import whole_folder, write_folder_provenance
from rlhf.logprobs.schema import LOGPROBS
from workflow.records.accepted_code import AcceptedCode
from workflow.records.own_records import differences, stated_origin

NOTHING = AcceptedCode({})
ORIGIN = {"spec": {"seed": 1, "rows": {"start": 0}}, "code": "a"}


def asked(spec: object, code: str) -> SimpleNamespace:
    return SimpleNamespace(spec=json.dumps(spec), code=code)


def test_differences_are_named() -> None:
    assert differences(ORIGIN, asked({"rows": {"start": 0}, "seed": 1}, "a"), NOTHING) == []
    assert differences(ORIGIN, asked({"seed": 2, "rows": {"start": 0}}, "a"), NOTHING) == ["seed 1 -> 2"]
    assert differences(ORIGIN, asked(ORIGIN["spec"], "b"), NOTHING) == ["code"]
    assert differences(ORIGIN, asked(ORIGIN["spec"], "b"), AcceptedCode({"a": ["b"]})) == []
    for nothing in (None, {}, {"spec": None}):
        (said,) = differences(nothing, asked({}, "a"), NOTHING)
        assert said.startswith("it states no provenance")


def test_the_origin_of_files_and_folders(tmp_path: Path) -> None:
    LOGPROBS.write(tmp_path / "a.parquet", [], ORIGIN)
    with whole_folder(tmp_path / "checkpoint") as folder:
        write_folder_provenance(folder, ORIGIN)
    assert stated_origin(tmp_path / "a.parquet") == {**ORIGIN, "artifact": "logprobs"}
    assert stated_origin(tmp_path / "checkpoint") == ORIGIN


@pytest.mark.parametrize("content", [b"", b"PAR1", b"\xff\xfe{", b"{"])
def test_what_cannot_be_read_has_no_origin(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint/provenance.json").write_bytes(content)
    assert stated_origin(tmp_path / "a.parquet") is None
    assert stated_origin(tmp_path / "checkpoint") is None
