"""Responses and rewards of another run of the pipeline, imported again."""

from typing import Any

import pytest

from rlhf.base.errors import UserError
from rlhf.base.names import Rows
from rlhf.prompts.schema import prompt_id
from rlhf.responses.imported import imported_rows, read_imported
from rlhf.responses.settings import ImportSpec
from rlhf.rewards.imported import imported_rewards
from rlhf.tokens.chat import encode_response
from small_tokenizers import small_tokenizer

TOKENIZER = small_tokenizer()
END = TOKENIZER.convert_tokens_to_ids("<|eot_id|>")
PROMPTS = [{"prompt_id": prompt_id(name), "prompt": name} for name in "ab"]


def letters(text: str) -> list[int]:
    """Another way to write a text than the tokenizer's own, as sampling may take it."""
    return TOKENIZER.convert_tokens_to_ids(list(text))


def response(name: str, draw: int, text: str, ids: list[int], reason: str = "stop") -> dict[str, Any]:
    identity = {"prompt_id": prompt_id(name), "draw": draw}
    return {**identity, "response": text, "response_token_ids": ids, "finish_reason": reason, "seed": 7}


def read(rows: list[dict[str, Any]], draws: int = 2, *, rewards: bool = False) -> Any:
    from datasets import Dataset

    values: dict[str, Any] = {"dataset": "theirs", "dataset_fingerprint": "x", "revision": None, "split": "train"}
    spec = ImportSpec(**values, column="prompt", rows=Rows(start=0, stop=2), draws=draws)
    return read_imported(Dataset.from_list(rows), PROMPTS, spec, "theirs", rewards=rewards)


THEIRS = [
    response("other", 0, "hello", [*letters("hello"), END]),
    response("b", 1, "", [END]),
    response("b", 2, "hello", [*letters("hello"), END]),
    response("a", 1, "world", letters("world"), "length"),
    response("b", 0, "hello", [*letters("hello"), END]),
    response("a", 0, "hello", [10**6]),
]


def test_draws_and_tokens_stay_as_they_are() -> None:
    found = read(THEIRS)
    rows = list(imported_rows(PROMPTS, found, TOKENIZER, 20))
    kept = [{**THEIRS[number], "seed": 0} for number in (5, 3, 4, 1)]
    assert rows == [{**kept[0], "response_token_ids": encode_response(TOKENIZER, "hello")}, *kept[1:]]
    assert dict(found.counts) == {"missing": 0, "beyond_draws": 1, "duplicate_rows": 0, "encoded_again": 1}


def test_a_lower_limit_truncates() -> None:
    rows = list(imported_rows(PROMPTS, read(THEIRS), TOKENIZER, 3))
    assert [row["finish_reason"] for row in rows] == ["length", "length", "length", "stop"]
    assert rows[2]["response_token_ids"] == letters("hel") and rows[2]["response"] == "hel"


def test_a_truncated_response_of_another_tokenizer_gets_no_end_of_turn() -> None:
    rows = [response("a", 0, "hello", [10**6], "length"), response("b", 0, "x", [*letters("x"), END])]
    first, _ = imported_rows(PROMPTS, read(rows), TOKENIZER, 20)
    assert first["response_token_ids"] == encode_response(TOKENIZER, "hello")[:-1]
    assert first["finish_reason"] == "length"


def test_rewards_stay_as_they_are() -> None:
    rewards = [
        {"prompt_id": prompt_id("b"), "draw": 0, "reward": None, "invalid": "too_long", "objectives": None},
        {"prompt_id": prompt_id("a"), "draw": 1, "reward": -1.5, "invalid": None, "objectives": [1.0]},
        {"prompt_id": prompt_id("a"), "draw": 0, "reward": 2.0, "invalid": None, "objectives": [2.0]},
        {"prompt_id": prompt_id("a"), "draw": 2, "reward": 3.0, "invalid": None, "objectives": [2.0]},
    ]
    found = imported_rewards(PROMPTS, read(rewards, rewards=True))
    assert found == [{**rewards[number], "objectives": None} for number in (2, 1, 0)]


def test_prompts_that_are_not_there_are_named() -> None:
    with pytest.raises(UserError, match=r"theirs: no responses to 1 of 2 prompts; the first is [0-9a-f]{16}: 'a'"):
        read(THEIRS[:3])
