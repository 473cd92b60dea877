"""Ready-made pairs as text and as messages, with real tokenizers, through the whole pipeline."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from chat_runs import CONFIG, RECORDING, Row, rendered, save_random_policy, turn_of, ultrachat
from project import copy_project
from rlhf.base.artifacts import read_provenance
from rlhf.logprobs.schema import LOGPROBS
from rlhf.pairs.schema import UNSCORED_PAIRS
from rlhf.prompts.schema import prompt_artifact
from rlhf.training.schema import TRAINING

FORMS = {"text": "llama3_1", "messages": "gemma3", "turns": "qwen3"}
"""`turns`: only the assistant's turn, beside a prompt of several turns."""
THOUGHTLESS = {"enable_thinking": False}


def pairs(form: str) -> list[Row]:
    """A pair for each conversation, one of them with an empty and one with an equal response."""
    chats = ultrachat()[::3]
    rows = []
    for number, row in enumerate(chats):
        prompt = row["messages"][:-1] if form != "text" else row["messages"][-2:-1]
        texts = {"chosen": f"Yes, {number}: {row['messages'][-1]['content']}", "rejected": f"No, {number}."}
        if number == 0:
            texts["rejected"] = " "
        if number == 1:
            texts["rejected"] = texts["chosen"]
        answers = {side: [turn_of("assistant", text)] for side, text in texts.items()}
        if form == "text":
            rows.append({"prompt": prompt[0]["content"], **texts})
        elif form == "messages":
            rows.append({side: [*prompt, *answer] for side, answer in answers.items()})
        else:
            rows.append({"prompt": prompt, **answers})
    return rows


def prompt_of(row: Row, form: str) -> list[dict[str, str]]:
    """The prompt as messages."""
    if form == "text":
        return [turn_of("user", row["prompt"])]
    messages: list[dict[str, str]] = row["prompt"] if form == "turns" else row["chosen"][:-1]
    return messages


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_pairs_are_trained_on_as_the_template_writes_them(form: str, real_tokenizers: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(real_tokenizers / FORMS[form])
    options = THOUGHTLESS if form == "turns" else {}
    project = copy_project(tmp_path)
    save_random_policy(tmp_path / "policy", tokenizer)
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs(form)))
    (tmp_path / "my_rewards.py").write_text(RECORDING)
    config = copy.deepcopy(CONFIG)
    del config["responses"]["imported"]
    column = "chosen" if form == "messages" else "prompt"
    config["prompts"] |= {"dataset": "pairs.jsonl", "column": column, "template": options}
    config["pairs"] = {"imported": {"dataset": "pairs.jsonl"}}
    project.run(configfile=project.write_config(config, "chats"))

    results = tmp_path / "results/chats"
    file = results / "prompts.parquet"
    prompts = {row["prompt_id"]: row for row in prompt_artifact(file).read(file).to_pylist()}
    assert len(prompts) == 18
    assert not (results / "base/responses/train-000.parquet").exists()
    found = []
    for part in ("train-000", "train-001", "test-000"):
        path = results / f"base/pairs/{part}.parquet"
        rows, counts = UNSCORED_PAIRS.read(path).to_pylist(), read_provenance(path)["counts"]
        assert counts["prompts"] == len(rows) + sum(counts["dropped"].values())
        assert counts["pairs"] == len(rows) == LOGPROBS.read(results / f"base/logprobs/{part}.parquet").num_rows
        found += rows
    source = {row["prompt"] if form == "text" else prompt_of(row, form)[-1]["content"]: row for row in pairs(form)}
    assert len(found) == 16 - 2  # of 18 prompts the parts take 16; two of those have an empty or an equal response
    for pair in found:
        prompt = prompts[pair["prompt_id"]]
        row = source[prompt["prompt"]]
        for side in ("chosen", "rejected"):
            text = row[side] if form == "text" else row[side][-1]["content"]
            whole = rendered(tokenizer, [*prompt_of(row, form), turn_of("assistant", text)], options)
            ids = [*pair["prompt_token_ids"], *pair[f"{side}_token_ids"]]
            assert whole[: len(ids)] == ids and tokenizer.decode(whole[len(ids) :]).strip() == ""
            assert pair[side] == text and pair[f"{side}_reward"] is None
    metrics = TRAINING.read(results / "dpo-1/training.parquet").to_pylist()
    assert metrics[1]["loss"] == pytest.approx(0.6931, abs=1e-3) and metrics[1]["reward_gap"] is None
