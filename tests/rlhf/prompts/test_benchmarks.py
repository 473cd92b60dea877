"""The questions that are read of a benchmark; those of the hub are in tests/scripts/test_prefetch.py."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlhf.base.errors import UserError
from rlhf.prompts.benchmarks import read_questions
from rlhf.prompts.settings import Benchmark, BenchmarkSettings, PromptSettings

TURNS = [["first", "second"], [], None, ["third", None, " "]]


def read(path: Path, column: str = "prompt") -> tuple[str, ...]:
    return read_questions(Benchmark(dataset=str(path), column=column, name="mine"), None).texts


def write_lines(path: Path, column: str, values: list[Any]) -> Path:
    path.write_text("".join(json.dumps({column: value}) + "\n" for value in values))
    return path


def test_text(tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "a.jsonl", "prompt", ["one", None, "", "two"])
    assert read(lines) == ("one", "two")
    (tmp_path / "a.json").write_text(json.dumps([{"prompt": "one"}, {"prompt": "two"}]))
    assert read(tmp_path / "a.json") == ("one", "two")


def test_every_turn_is_a_question(tmp_path: Path) -> None:
    expected = ("first", "second", "third")
    assert read(write_lines(tmp_path / "a.jsonl", "turns", TURNS), "turns") == expected
    for number, kind in enumerate((pa.list_(pa.string()), pa.large_list(pa.large_string()))):
        pq.write_table(pa.table({"turns": pa.array(TURNS, kind)}), tmp_path / f"{number}.parquet")
        assert read(tmp_path / f"{number}.parquet", "turns") == expected
    assert read(write_lines(tmp_path / "mixed.jsonl", "turns", ["zeroth", *TURNS]), "turns") == ("zeroth", *expected)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["a", 3], "row 1 holds int, and questions are text or lists of text"),
        (["a", [{"content": "b"}]], "row 1 holds dict, and questions are text or lists of text"),
        ([None, " ", []], "the column 'prompt' holds no questions"),
    ],
)
def test_what_holds_no_questions_is_named(tmp_path: Path, values: list[Any], said: str) -> None:
    path = write_lines(tmp_path / "a.jsonl", "prompt", values)
    with pytest.raises(UserError) as caught:
        read(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"prompts.decontaminate: mine ({path}): ")


def test_a_missing_column_or_file(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", "prompt", ["a"])
    with pytest.raises(UserError, match=r"mine .*: there is no column 'text'; there are 'prompt'. Set `column`"):
        read(path, "text")
    with pytest.raises(UserError, match="there is no such file"):
        read(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("dataset", "name", "label"),
    [
        ("data/alpaca_eval.jsonl", None, "alpaca_eval"),
        ("owner/arena-hard-auto-v0.1", None, "arena-hard-auto-v0.1"),
        ("owner/mt_bench", "MT-Bench", "MT-Bench"),
    ],
)
def test_the_name_is_that_of_the_dataset(dataset: str, name: str | None, label: str) -> None:
    assert BenchmarkSettings(dataset=dataset, name=name).label == label


def test_the_module_that_compares_is_needed_only_where_there_are_benchmarks() -> None:
    assert PromptSettings(dataset="a/b").modules == ()
    settings = PromptSettings(dataset="a/b", decontaminate=[BenchmarkSettings(dataset="c/d")])
    assert settings.modules == ("rlhf.prompts.contamination",)
