"""Chats of the forms that datasets have, with real tokenizers, through the whole pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from chat_runs import CONFIG, RECORDING, Row, rendered, save_random_policy, turn_of, ultrachat
from project import Project, copy_project
from rlhf.base.artifacts import read_provenance
from rlhf.logprobs.schema import LOGPROBS
from rlhf.pairs.schema import PAIRS
from rlhf.prompts.schema import CHATS
from rlhf.responses.schema import RESPONSES


def sharegpt(rows: list[Row]) -> list[Row]:
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    return [
        {**row, "messages": [{"from": names[t["role"]], "value": t["content"]} for t in row["messages"]]}
        for row in rows
    ]


def in_parts(rows: list[Row]) -> list[Row]:
    """Contents as lists of parts, as multimodal datasets have them."""
    return [
        {**row, "messages": [{**t, "content": [{"type": "text", "text": t["content"]}]} for t in row["messages"]]}
        for row in rows
    ]


FORMS: dict[str, tuple[str, str, Row]] = {
    "ultrachat": ("llama3_1", "parquet", {"keep": ["answer", "tests"]}),
    "sharegpt": ("qwen3", "jsonl", {"turns": "from_value", "template": {"enable_thinking": False}}),
    "parts": ("gemma3", "jsonl", {"keep": ["answer"], "system": "Be brief."}),
}


@pytest.mark.parametrize(
    "form", ["ultrachat", *(pytest.param(form, marks=pytest.mark.slow) for form in ("sharegpt", "parts"))]
)
def test_chats_go_through_the_pipeline(form: str, real_tokenizers: Path, tmp_path: Path) -> None:
    name, suffix, settings = FORMS[form]
    tokenizer = AutoTokenizer.from_pretrained(real_tokenizers / name)
    project = prepared(tmp_path, tokenizer, form, suffix, settings)
    results = tmp_path / "results/chats"

    prompts = CHATS.read(results / "prompts.parquet").to_pylist()
    counts = read_provenance(results / "prompts.parquet")["counts"]
    assert counts["rows"] == 18 * 3 + 2 == counts["prompts"] + sum(counts["dropped"].values())
    assert counts["dropped"]["duplicate"] == 18 * 2 and counts["dropped"]["not_a_chat"] == 2
    options = settings.get("template", {})
    for prompt in prompts:
        assert prompt["prompt_token_ids"] == rendered(tokenizer, prompt["messages"], options)
        assert prompt["prompt"] == prompt["messages"][-1]["content"]
    source = {row["messages"][-2]["content"]: row for row in ultrachat()}
    for prompt in prompts:
        row = source[prompt["prompt"]]
        expected = row["messages"][:-1]
        if "system" in settings and expected[0]["role"] != "system":
            expected = [turn_of("system", settings["system"]), *expected]
        assert prompt["messages"] == expected
        assert json.loads(prompt["kept"]) == {column: row[column] for column in settings.get("keep", [])}

    check_pairs(results, tokenizer, {prompt["prompt_id"]: prompt for prompt in prompts}, options)
    check_records(tmp_path, {prompt["prompt"]: prompt for prompt in prompts})
    page = (results / "report/index.html").read_text()
    assert "Question" in page and ("tests" in page) == ("tests" in settings.get("keep", []))
    assert not project.planned(configfile="config/chats.yaml")


def prepared(folder: Path, tokenizer: PreTrainedTokenizerBase, form: str, suffix: str, settings: Row) -> Project:
    """A finished run of all rules on the dataset in this form, with two rows that are no chats."""
    project = copy_project(folder)
    save_random_policy(folder / "policy", tokenizer)
    rows = {"ultrachat": ultrachat, "sharegpt": lambda: sharegpt(ultrachat()), "parts": lambda: in_parts(ultrachat())}
    made = rows[form]()
    made += [{**row, "messages": row["messages"][-1:]} for row in made[:2]]
    dataset = f"chats.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(made), folder / dataset)
    else:
        (folder / dataset).write_text("".join(json.dumps(row) + "\n" for row in made))
    (folder / "my_rewards.py").write_text(RECORDING)
    config = json.loads(json.dumps(CONFIG))
    config["prompts"] |= {"dataset": dataset, **settings}
    config["responses"]["imported"]["dataset"] = dataset
    project.run(configfile=project.write_config(config, "chats"))
    return project


def check_pairs(results: Path, tokenizer: PreTrainedTokenizerBase, prompts: dict[str, Row], options: Row) -> None:
    """Prompt and response together are the whole conversation as the template writes it."""
    pairs = []
    for part in ("train-000", "train-001"):
        found = PAIRS.read(results / f"base/pairs/{part}.parquet").to_pylist()
        counts = read_provenance(results / f"base/pairs/{part}.parquet")["counts"]
        assert counts["prompts"] == len(found) + sum(counts["dropped"].values())
        assert LOGPROBS.read(results / f"base/logprobs/{part}.parquet").num_rows == len(found)
        responses = read_provenance(results / f"base/responses/{part}.parquet")["counts"]
        assert responses["responses"] == 3 * responses["prompts"]
        pairs += found
    assert len(pairs) == 14
    for pair in pairs:
        messages = prompts[pair["prompt_id"]]["messages"]
        for side in ("chosen", "rejected"):
            whole = rendered(tokenizer, [*messages, turn_of("assistant", pair[side])], options)
            ids = [*pair["prompt_token_ids"], *pair[f"{side}_token_ids"]]
            assert whole[: len(ids)] == ids
            assert tokenizer.decode(whole[len(ids) :]).strip() == ""


def check_records(folder: Path, prompts: dict[str, Row]) -> None:
    """The reward function got every conversation whole, with what its prompt keeps."""
    records = [json.loads(line) for line in (folder / "seen.jsonl").read_text().splitlines()]
    sampled = RESPONSES.read(folder / "results/chats/base/responses/test-000.parquet").num_rows
    assert len(records) >= 14 * 3 + 2 * sampled
    for record in records:
        prompt = prompts[record["prompt"][-1]["content"]]
        assert record.pop("prompt") == prompt["messages"]
        assert record.pop("finish_reason") in ("stop", "length")
        assert isinstance(record.pop("response"), str)
        assert record == json.loads(prompt["kept"])
