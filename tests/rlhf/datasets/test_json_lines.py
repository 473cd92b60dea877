"""JSON lines: a schema by all rows, text that stays text, and lines that are none named with their row."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlhf.base.errors import UserError
from rlhf.datasets.files import open_file
from rlhf.datasets.json_lines import check_last_line, json_rows

DATES = ["2024-01-01", "2024-01-01T12:00:00Z", "12:30", "2024-02-30"]


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    with open_file(path) as dataset:
        return list(dataset)


def test_dates_stay_text(tmp_path: Path) -> None:
    rows = [{"prompt": date, "n": number} for number, date in enumerate(DATES)]
    assert read(write(tmp_path / "x.jsonl", rows)) == rows


@pytest.mark.parametrize("megabytes", [1, 25])
def test_keys_and_types_that_first_appear_late(tmp_path: Path, megabytes: int) -> None:
    """Behind the first 10 MB: a further key, a number where all were null, a fraction where all were whole."""
    filler = "x" * 100_000
    rows: list[dict[str, Any]] = [{"prompt": filler, "score": 1, "none": None} for _ in range(10 * megabytes)]
    rows.append({"prompt": "last", "score": 0.5, "none": 7, "tag": "late"})
    found = read(write(tmp_path / "x.jsonl", rows))
    assert [row["prompt"] for row in found] == [row["prompt"] for row in rows]
    assert found[-1] == rows[-1]
    assert found[0] == {"prompt": filler, "score": 1.0, "none": None, "tag": None}


def test_values_of_every_kind_come_back(tmp_path: Path) -> None:
    values = ["text", "", None, 7, 0.5, True, [1, "a"], {"a": [None]}, "5", "null", 2**70, "🦙 \u202e"]
    rows = [{"mixed": value, "lists": [{"role": "user", "content": "a"}], "flag": True} for value in values]
    found = read(write(tmp_path / "x.jsonl", rows))
    assert [row["lists"] for row in found] == [row["lists"] for row in rows]
    assert [row["flag"] for row in found] == [True] * len(rows)
    for row, value in zip(found, values, strict=True):
        assert row["mixed"] == (pytest.approx(value) if value == 2**70 else value)
        assert type(row["mixed"]) is type(value) or value == 2**70  # a fraction: 64 bits do not hold it


def test_more_rows_than_a_batch(tmp_path: Path) -> None:
    rows = [{"prompt": str(number), "n": number} for number in range(25_001)]
    assert read(write(tmp_path / "x.jsonl", rows)) == rows


def test_other_forms_of_a_file(tmp_path: Path) -> None:
    """Line ends of Windows, a byte order mark, empty lines, no line end at the last, an array."""
    rows = [{"prompt": "a"}, {"prompt": "b"}]
    forms = {
        "crlf.jsonl": b'{"prompt": "a"}\r\n{"prompt": "b"}\r\n',
        "mark.jsonl": b'\xef\xbb\xbf{"prompt": "a"}\n{"prompt": "b"}\n',
        "empty_lines.jsonl": b'\n{"prompt": "a"}\n\n  \n{"prompt": "b"}',
        "array.json": b'[\n {"prompt": "a"},\n {"prompt": "b"}\n]\n',
    }
    for name, content in forms.items():
        (tmp_path / name).write_bytes(content)
        assert read(tmp_path / name) == rows


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": 1}\n{"a": \n', r"row 1 \(line 2\) is not a JSON object"),
        (b'{"a": 1}\n{"a": 1', r"row 1 \(line 2\) is not a JSON object: .*The last line has no newline.*truncated"),
        (b'{"a": 1}\n"text"\n', r"row 1 \(line 2\) is not a JSON object: it is 'text'"),
        (b'{"a": "gr\xf6\xdfe"}\n', r"row 0 \(line 1\) is not a JSON object: .*Save the file as UTF-8"),
        ('{"a": 1}\n'.encode("utf-16"), r"row 0 \(line 1\) is not a JSON object: .*Save the file as UTF-8"),
        (b'{"a": "\\ud800"}\n', r"row 0 \(line 1\) is not a JSON object: .*surrogates"),
        (b"[1, 2]\n", "row 0 is not a JSON object: it is '1'"),
        (b'[{"a": 1},\n', "starts like a JSON array but is not one"),
        (b"\n \n", "has no rows"),
        (b"[]", "has no rows"),
        (b"[" * 100_000, "starts like a JSON array but is not one"),
        (b'{"a": ' * 100_000 + b"\n", r"row 0 \(line 1\) is not a JSON object"),
    ],
    ids=lambda value: str(value[:20]),
)
def test_lines_that_are_not_objects_are_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=rf"x\.jsonl: .*{said}"):
        list(json_rows(tmp_path / "x.jsonl"))


def test_a_truncated_file_is_detected_by_its_last_line(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [{"prompt": "a" * 1000}] * 3000)
    check_last_line(path)
    with path.open("ab") as file:
        file.write(b'{"prompt": "aaa')
    with pytest.raises(UserError, match=r"x\.jsonl: the last line is not a JSON object.*truncated"):
        check_last_line(path)
