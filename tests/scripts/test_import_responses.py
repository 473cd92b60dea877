"""The program that imports responses."""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

import import_responses
from collecting import collected_prompts
from rlhf.base.artifacts import read_provenance
from rlhf.base.errors import UserError
from rlhf.base.names import Rows
from rlhf.base.provenance import digest
from rlhf.prompts.schema import PROMPTS
from rlhf.responses.schema import RESPONSES, read_responses
from rlhf.responses.settings import ImportResponsesSpec
from rlhf.tokens.chat import encode_response, end_of_turn_id
from small_tokenizers import small_tokenizer


def run_program(
    monkeypatch: pytest.MonkeyPatch, dataset: Path, prompts: Path, policy: Path, output: Path, **changes: Any
) -> Path:
    values: dict[str, Any] = {"dataset": str(dataset), "dataset_fingerprint": "x", "revision": None, "split": "train"}
    values.update(column="prompt", model=None, rows=Rows(start=0, stop=2), draws=2, max_tokens=30)
    spec = ImportResponsesSpec.model_validate({**values, **changes}).model_dump_json()
    arguments = ["--spec", spec, "--prompts", str(prompts), "--policy", str(policy), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["import_responses.py", *arguments])
    import_responses.main()
    return output


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    table = pa.concat_tables(collected_prompts(["a", "b", "c"], small_tokenizer()).kept.tables())
    PROMPTS.write(tmp_path / "prompts.parquet", table, {})
    return tmp_path / "prompts.parquet"


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answers(prompt: str, *responses: str | None) -> dict[str, Any]:
    return {"prompt": prompt, **{f"response_{draw}": text for draw, text in enumerate(responses)}}


def test_responses_of_a_part(
    tmp_path: Path, prompts: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [answers(f" {name}\r\n", f"{name}0", f"{name}1" + "x" * 50, "unused") for name in "cba"]
    dataset = write(tmp_path / "data.jsonl", [answers("other", None, ""), *rows])
    output = run_program(monkeypatch, dataset, prompts, policy_folder, tmp_path / "out.parquet")
    table = RESPONSES.read(output).to_pylist()
    part = PROMPTS.read(prompts).to_pylist()[:2]
    assert [(row["prompt_id"], row["draw"]) for row in table] == [(p["prompt_id"], d) for p in part for d in (0, 1)]
    assert [row["response"] for row in table[::2]] == [f"{prompt['prompt']}0" for prompt in part]
    assert [row["finish_reason"] for row in table] == ["stop", "length"] * 2
    assert {row["seed"] for row in table} == {0}
    provenance = read_provenance(output)
    counts = {"prompts": 2, "responses": 4, "truncated": 2, "missing": 0, "beyond_draws": 0, "duplicate_rows": 0}
    assert provenance["counts"] == counts and provenance["dataset_revision"] is None
    expected = {"prompts": digest(prompts), "dataset": digest(dataset), "policy": digest(policy_folder)}
    assert provenance["inputs"] == expected


def test_thoughts_are_encoded_and_hidden(
    tmp_path: Path, prompts: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first response is whole, the second is longer than `max_tokens`, and cut in its thought."""
    said = "<think>\nHm.</think>\n\nIt is."
    dataset = write(tmp_path / "data.jsonl", [answers(name, said, "<think>" + "x" * 90) for name in "abc"])
    hide = {"open": "<think>", "close": "</think>"}
    flags = (dataset, prompts, policy_folder, tmp_path / "out.parquet")
    output = run_program(monkeypatch, *flags, max_tokens=40, hide=hide)
    first, second = read_responses(output).to_pylist()[:2]
    tokenizer = small_tokenizer()
    assert first["response_token_ids"] == encode_response(tokenizer, said)
    assert first["visible_tokens"] == len(encode_response(tokenizer, "It is."))
    assert [row["response"] for row in (first, second)] == ["It is.", ""]
    assert [row["finish_reason"] for row in (first, second)] == ["stop", "length"]
    assert len(second["response_token_ids"]) == 40
    counts = read_provenance(output)["counts"]
    assert (counts["responses"], counts["truncated"], counts["unfinished_thoughts"]) == (4, 2, 2)


def test_wrong_data(tmp_path: Path, prompts: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[tuple[list[dict[str, Any]], str]] = [
        ([answers("a", "x")], r"no column 'response_1'; there are 'prompt', 'response_0'"),
        ([answers("z", "x", "y")], r"no responses to 2 of 2 prompts; the first is [0-9a-f]{16}: '[abc]'"),
        ([answers("a", "x"), {"prompt": "b", "answer": "y"}], r"no column 'response_1'; there are"),
        (
            [{"prompt": name, "response": 3} for name in "abc"],
            r"2 values cannot be used:\n  row \d, column 'response': 3",
        ),
    ]
    for number, (rows, message) in enumerate(cases):
        dataset = write(tmp_path / f"data-{number}.jsonl", rows)
        with pytest.raises(UserError, match=message) as error:
            run_program(monkeypatch, dataset, prompts, policy_folder, tmp_path / "out.parquet")
        assert str(dataset) in str(error.value)
    assert not (tmp_path / "out.parquet").exists()


def test_every_form_of_the_same_responses_gives_the_same_rows(
    tmp_path: Path, prompts: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wide and one row per response, JSON lines and Parquet, another column, and a folder."""
    wide = [answers(name, f"{name}0", None if name == "b" else "🦙", " " if name == "a" else "שלום") for name in "bca"]
    long = [{"prompt": row["prompt"], "response": row[f"response_{draw}"]} for draw in range(3) for row in wide]
    other = [{"question": row["prompt"], "response": row["response"], "prompt": "a"} for row in long]
    repository = tmp_path / "repository"
    repository.mkdir()
    pq.write_table(pa.Table.from_pylist([answers("a", "p", "q", "r")]), repository / "train.parquet")
    for folder, rows in ((tmp_path, long), (repository, wide)):
        pq.write_table(pa.Table.from_pylist(rows), folder / "test.parquet")
    cases: list[tuple[Path, dict[str, Any]]] = [
        (write(tmp_path / "wide.jsonl", wide), {}),
        (write(tmp_path / "long.jsonl", long), {}),
        (write(tmp_path / "other.jsonl", other), {"column": "question"}),
        (tmp_path / "test.parquet", {}),
        (repository, {"split": "test"}),
    ]
    found = []
    for number, (dataset, changes) in enumerate(cases):
        output = tmp_path / f"out-{number}.parquet"
        run_program(
            monkeypatch, dataset, prompts, policy_folder, output, rows=Rows(start=0, stop=3), draws=3, **changes
        )
        found.append(RESPONSES.read(output))
        facts = read_provenance(output)
        expected = {"prompts": 3, "responses": 7, "truncated": 0, "missing": 2, "beyond_draws": 0, "duplicate_rows": 0}
        assert facts["counts"] == expected
        assert facts["inputs"]["dataset"] == digest(dataset) and facts["dataset_revision"] is None
    assert all(table.equals(found[0]) for table in found)
    texts = {row["prompt_id"]: row["prompt"] for row in PROMPTS.read(prompts).to_pylist()}
    by_key = {(texts[row["prompt_id"]], row["draw"]): row["response"] for row in found[0].to_pylist()}
    assert by_key == {
        ("a", 0): "a0", ("a", 1): "🦙",
        ("b", 0): "b0", ("b", 2): "שלום",
        ("c", 0): "c0", ("c", 1): "🦙", ("c", 2): "שלום",
    }  # fmt: skip


def test_rows_beyond_the_draws_are_counted(
    tmp_path: Path, prompts: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"prompt": name, "response": f"{name}{row}"} for row in range(5) for name in "abc"]
    dataset = write(tmp_path / "data.jsonl", rows)
    output = run_program(monkeypatch, dataset, prompts, policy_folder, tmp_path / "out.parquet")
    counts = read_provenance(output)["counts"]
    assert (counts["responses"], counts["missing"], counts["beyond_draws"], counts["duplicate_rows"]) == (4, 0, 6, 0)


def test_real_responses(
    tmp_path: Path, real_responses: Path, llama3_tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama3_tokenizer_folder)
    policy = tmp_path / "policy"
    tokenizer.save_pretrained(policy)
    (policy / "config.json").write_text(json.dumps({"model_type": "llama"}))
    source = pq.read_table(real_responses).to_pylist()
    collection = collected_prompts((row["prompt"] for row in source), tokenizer, max_tokens=1024)
    PROMPTS.write_tables(tmp_path / "prompts.parquet", collection.kept.tables(), {})
    output = run_program(
        monkeypatch, real_responses, tmp_path / "prompts.parquet", policy, tmp_path / "out.parquet",
        rows=Rows(start=-100, stop=0), draws=5, max_tokens=1024,
    )  # fmt: skip
    by_prompt = {row["prompt"].strip(): row for row in source}
    texts = {row["prompt_id"]: row["prompt"] for row in PROMPTS.read(tmp_path / "prompts.parquet").to_pylist()}
    rows = RESPONSES.read(output).to_pylist()
    assert len(rows) == 500
    end = end_of_turn_id(tokenizer)
    for row in rows:
        text = by_prompt[texts[row["prompt_id"]]][f"response_{row['draw']}"]
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        if len(ids) < 1024:
            assert (row["finish_reason"], row["response_token_ids"], row["response"]) == ("stop", [*ids, end], text)
        else:
            assert (row["finish_reason"], row["response_token_ids"]) == ("length", ids[:1024])
