"""Experiments on chats with real tokenizers: small random policies, conversations, and what templates make of them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from rlhf.tokens.templates import TEMPLATE_DATE

Row = dict[str, Any]
WORDS = ("why", "does", "a", "lazy", "fox", "jump", "over", "the", "quick", "brown", "dog", "and", "what", "is", "good")
RECORDING = """
import json, zlib
from pathlib import Path


def recorded(records):
    with Path("seen.jsonl").open("a") as file:
        for record in records:
            file.write(json.dumps(record) + "\\n")
    return [zlib.crc32(record["response"].encode()) % 1000 / 1000 for record in records]
"""
CONFIG: dict[str, Any] = {
    "experiment": "chats",
    "seed": 3,
    "environments": "embedded",
    "base_model": {"name": "policy"},
    "prompts": {"dataset": "chats.parquet", "column": "messages", "train": 14, "test": 2, "part_size": 8},
    "responses": {
        "engine": "transformers",
        "draws": 3,
        "max_tokens": 40,
        "precision": "float32",
        "imported": {"dataset": "chats.parquet", "column": "messages"},
    },
    "rewards": {"kind": "function", "function": "my_rewards:recorded"},
    "logprobs": {"precision": "float32"},
    "training": {"batch_size": 4, "learning_rate": 1.0e-4},
    "variants": {"dpo": {"loss": {"name": "dpo", "beta": 0.1}}},
    "hardware": {
        rule: {"gpu": 0, "threads": 1, "token_budget": 2048}
        for rule in ("generate_responses", "score_responses", "compute_logprobs", "train_policy")
    },
}


def ultrachat() -> list[Row]:
    """Several turns, some with a system prompt of their own, and two columns to keep."""
    rng = random.Random(1)
    rows: list[Row] = []
    for number in range(18):
        before = [{"role": "system", "content": f"Answer as number {number}."}] if number % 3 == 0 else []
        for turn in range(number % 3):
            before += [turn_of("user", sentence(rng)), turn_of("assistant", f"{turn}: {sentence(rng)}")]
        asked = [*before, turn_of("user", f"Question {number}: {sentence(rng)}?")]
        for draw in range(3):
            answer = turn_of("assistant", f"Answer {draw}: {sentence(rng)}.")
            rows.append({"messages": [*asked, answer], "answer": number, "tests": [f"test {number}", None]})
    return rows


def turn_of(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(3, 9)))


def save_random_policy(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """A Llama with a real vocabulary that runs in seconds."""
    vocabulary = 1 + max(len(tokenizer), *tokenizer.all_special_ids)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=4096,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def rendered(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], options: Row) -> list[int]:
    asked = messages[-1]["role"] == "user"
    found: list[int] = tokenizer.apply_chat_template(
        messages,
        add_generation_prompt=asked,
        return_dict=False,
        strftime_now=TEMPLATE_DATE.strftime,
        **options,
    )
    return found
