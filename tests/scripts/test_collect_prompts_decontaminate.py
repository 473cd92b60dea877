"""The program that collects prompts, where questions of benchmarks are dropped from them."""

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import collect_prompts
from collecting import DEFAULTS
from rlhf.base.artifacts import read_provenance
from rlhf.base.errors import UserError
from rlhf.base.provenance import digest
from rlhf.prompts.schema import CONTAMINATION, PROMPTS, prompt_id
from rlhf.prompts.settings import CollectSpec

LONG = "Write a short story about a lighthouse keeper who finds a letter in a bottle after a storm at sea"
MIDDLE = "Which three planets of the solar system have the largest number of known moons"
SHORT = "Who are you"
EXACT, EDITED, INSIDE, EQUAL = (
    f"{LONG}.",
    "Which four planets of our solar system have the largest number of known moons?",
    f"Here is a task for a pupil. {LONG} in winter. Do it for him.",
    "WHO are you?",
)
CLEAN = ["Write a poem about the sea.", "Who are you going to vote for, and why?", "Name three planets."]
Collect = Callable[..., Path]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    texts = [EXACT, CLEAN[0], EDITED, CLEAN[1], INSIDE, CLEAN[2], EQUAL, None, CLEAN[0]]
    return write_lines(tmp_path / "data.jsonl", [{"prompt": text} for text in texts])


@pytest.fixture
def benchmarks(tmp_path: Path) -> list[dict[str, Any]]:
    stories = write_lines(tmp_path / "stories.jsonl", [{"question": LONG}, {"question": "What is a lighthouse?"}])
    turns = write_lines(tmp_path / "turns.jsonl", [{"turns": [MIDDLE, SHORT]}, {"turns": [LONG.upper()]}])
    return [
        {"dataset": str(stories), "column": "question", "name": "stories"},
        {"dataset": str(turns), "column": "turns", "name": "turns", "fingerprint": digest(turns)},
    ]


@pytest.fixture
def collect(tmp_path: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Collect:
    """Run the program in this process; gives the path of the prompts, `contamination.parquet` is beside it."""

    def run(dataset: Path, benchmarks: list[dict[str, Any]], *flags: str, folder: str = "out") -> Path:
        changes = {"dataset": None, "max_tokens": 600, "decontaminate": benchmarks}
        spec = CollectSpec.model_validate(DEFAULTS | changes).model_dump_json()
        output = tmp_path / folder / "prompts.parquet"
        arguments = ["--spec", spec, "--dataset", str(dataset), "--base-model", str(policy_folder), *flags]
        if benchmarks and "--contamination" not in flags:
            arguments += ["--contamination", str(output.with_name("contamination.parquet"))]
        monkeypatch.setattr(sys, "argv", ["collect_prompts.py", *arguments, "--output", str(output)])
        collect_prompts.main()
        return output

    return run


def test_questions_are_dropped_and_listed(
    collect: Collect, dataset: Path, benchmarks: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        output = collect(dataset, benchmarks, "--train", "2", "--test", "1")
    assert sorted(PROMPTS.read(output)["prompt"].to_pylist()) == sorted(CLEAN)
    rows = CONTAMINATION.read(output.with_name("contamination.parquet")).to_pylist()
    found = {(row["prompt"], row["benchmark"]): (row["question"], row["reason"]) for row in rows}
    assert found == {
        (EXACT, "stories"): (LONG, "whole question"),
        (EXACT, "turns"): (LONG.upper(), "whole question"),
        (INSIDE, "stories"): (LONG, "whole question"),
        (INSIDE, "turns"): (LONG.upper(), "whole question"),
        (EDITED, "turns"): (MIDDLE, "similar"),
        (EQUAL, "turns"): (SHORT, "whole question"),
    }
    assert all(row["prompt_id"] == prompt_id(row["prompt"]) for row in rows)
    assert {row["similarity"] for row in rows if row["prompt"] in (EXACT, EQUAL)} == {1.0}
    provenance = read_provenance(output)
    dropped = {"not_text": 1, "empty": 0, "duplicate": 1, "too_long": 0, "contaminated": 4}
    counted = {"stories": {"questions": 2, "prompts": 2}, "turns": {"questions": 3, "prompts": 4}}
    assert provenance["counts"] == {"rows": 9, "prompts": 3, "dropped": dropped, "benchmarks": counted}
    assert provenance == {**read_provenance(output.with_name("contamination.parquet")), "artifact": "prompts"}
    assert provenance["inputs"]["benchmarks"] == [digest(Path(benchmark["dataset"])) for benchmark in benchmarks]
    assert any('"contaminated":4' in message for message in caplog.messages)
    written = json.dumps(provenance).lower() + " ".join(caplog.messages).lower()
    assert not [word for word in ("lighthouse", "planets", "who are you") if word in written]


def test_the_files_depend_on_neither_order(
    collect: Collect, dataset: Path, benchmarks: list[dict[str, Any]], tmp_path: Path
) -> None:
    lines = dataset.read_text().splitlines(keepends=True)
    (tmp_path / "turned.jsonl").write_text("".join(lines[::-1]))
    first = collect(dataset, benchmarks)
    second = collect(tmp_path / "turned.jsonl", benchmarks[::-1], folder="turned")
    assert PROMPTS.read(first).equals(PROMPTS.read(second))
    tables = [CONTAMINATION.read(path.with_name("contamination.parquet")) for path in (first, second)]
    assert tables[0].equals(tables[1])
    again = collect(dataset, benchmarks, folder="again")
    for name in ("prompts.parquet", "contamination.parquet"):
        assert again.with_name(name).read_bytes() == first.with_name(name).read_bytes()


def test_where_no_prompt_is_a_question_the_list_is_empty(
    collect: Collect, dataset: Path, benchmarks: list[dict[str, Any]], tmp_path: Path
) -> None:
    other = write_lines(tmp_path / "other.jsonl", [{"question": "Can dogs look up?"}])
    output = collect(dataset, [{**benchmarks[0], "dataset": str(other)}])
    assert PROMPTS.read(output).equals(PROMPTS.read(collect(dataset, [], folder="without")))
    assert len(CONTAMINATION.read(output.with_name("contamination.parquet"))) == 0


def test_without_benchmarks_nothing_is_different(
    collect: Collect, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the spec nor the counts know the key, and the library is not imported."""
    monkeypatch.setitem(sys.modules, "datasketch", None)
    monkeypatch.delitem(sys.modules, "rlhf.prompts.contamination", raising=False)
    output = collect(dataset, [], "--contamination")
    provenance = read_provenance(output)
    assert provenance["spec"].keys() == CollectSpec.model_fields.keys() - {"decontaminate", "turns", "keep", "template"}
    dropped = {"not_text": 1, "empty": 0, "duplicate": 1, "too_long": 0}
    assert provenance["counts"] == {"rows": 9, "prompts": 7, "dropped": dropped}
    assert provenance.keys() == {
        *("artifact", "code", "counts", "dataset_revision", "inputs", "model_revision", "spec", "versions")
    }
    assert provenance["inputs"].keys() == {"dataset", "base_model"}
    assert [path.name for path in output.parent.iterdir()] == ["prompts.parquet"]


def test_too_few_prompts_that_are_no_questions(
    collect: Collect, dataset: Path, benchmarks: list[dict[str, Any]]
) -> None:
    with pytest.raises(
        UserError, match=r"4 contaminated\): there are 3 prompts.*are questions of benchmarks: use another"
    ):
        collect(dataset, benchmarks, "--train", "3", "--test", "1")


def test_by_hand_the_list_needs_a_file(collect: Collect, dataset: Path, benchmarks: list[dict[str, Any]]) -> None:
    with pytest.raises(UserError, match="give one with --contamination"):
        collect(dataset, benchmarks, "--contamination")
