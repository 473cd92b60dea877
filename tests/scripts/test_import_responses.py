"""The program that imports responses."""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

import import_responses
from rlhf.artifacts import read_provenance
from rlhf.chat import end_of_turn_id
from rlhf.errors import UserError
from rlhf.parts import Rows
from rlhf.prompt_collection import collect
from rlhf.prompts import PROMPTS
from rlhf.provenance import digest
from rlhf.responses import RESPONSES, ImportSpec
from small_tokenizers import small_tokenizer


def run_program(
    monkeypatch: pytest.MonkeyPatch, dataset: Path, prompts: Path, policy: Path, output: Path, **changes: Any
) -> Path:
    values: dict[str, Any] = {"dataset": str(dataset), "dataset_fingerprint": "x", "model": None}
    values.update(rows=Rows(start=0, stop=2), draws=2, max_tokens=30)
    spec = ImportSpec.model_validate({**values, **changes}).model_dump_json()
    arguments = ["--spec", spec, "--prompts", str(prompts), "--policy", str(policy), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["import_responses.py", *arguments])
    import_responses.main()
    return output


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    table = collect(["a", "b", "c"], small_tokenizer(), seed=1, system=None, max_tokens=50).table
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
    assert provenance["counts"] == {"prompts": 2, "responses": 4, "truncated": 2}
    expected = {"prompts": digest(prompts), "dataset": digest(dataset), "policy": digest(policy_folder)}
    assert provenance["inputs"] == expected


def test_wrong_data(tmp_path: Path, prompts: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[tuple[list[dict[str, Any]], str]] = [
        ([answers("a", "x")], r"no column 'response_1'; there are 'prompt', 'response_0'"),
        ([answers("z", "x", "y")], r"no responses to 2 of 2 prompts; the first is [0-9a-f]{16}: '[abc]'"),
        ([answers(name, "x", None) for name in "abc"], r"2 responses are missing:\n  row \d, column 'response_1'"),
    ]
    for number, (rows, message) in enumerate(cases):
        dataset = write(tmp_path / f"data-{number}.jsonl", rows)
        with pytest.raises(UserError, match=message) as error:
            run_program(monkeypatch, dataset, prompts, policy_folder, tmp_path / "out.parquet")
        assert str(dataset) in str(error.value)
    assert not (tmp_path / "out.parquet").exists()


def test_real_responses(
    tmp_path: Path, real_responses: Path, llama3_tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama3_tokenizer_folder)
    policy = tmp_path / "policy"
    tokenizer.save_pretrained(policy)
    (policy / "config.json").write_text(json.dumps({"model_type": "llama"}))
    source = pq.read_table(real_responses).to_pylist()
    collection = collect((row["prompt"] for row in source), tokenizer, seed=1, system=None, max_tokens=1024)
    PROMPTS.write(tmp_path / "prompts.parquet", collection.table, {})
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
