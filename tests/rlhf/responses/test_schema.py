"""Seeds of draws, and the rows of responses."""

import hashlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.responses.engine import Completion, Request
from rlhf.responses.schema import RESPONSES, draw_seed, response_rows
from small_tokenizers import small_tokenizer

arguments = st.tuples(st.integers(-(2**40), 2**70), st.text(max_size=10), st.text(max_size=20), st.integers(0, 1000))


def test_known_values() -> None:
    """They must never change: responses that exist were sampled with them."""
    sha = hashlib.sha256(b"5775709\x00base\x000123456789abcdef\x003").hexdigest()
    assert draw_seed(5775709, "base", "0123456789abcdef", 3) == int(sha[:16], 16) // 2
    assert draw_seed(0, "base", "a", 0) == 6564615341367704340


@given(arguments)
def test_a_seed_fits_int64_and_is_not_negative(given_arguments: tuple[int, str, str, int]) -> None:
    seed = draw_seed(*given_arguments)
    assert 0 <= seed < 2**63
    assert seed == draw_seed(*given_arguments)


@pytest.mark.parametrize(
    "other", [(2, "base", "prompt", 0), (1, "rebel-1", "prompt", 0), (1, "base", "prompu", 0), (1, "base", "prompt", 1)]
)
def test_every_argument_counts(other: tuple[int, str, str, int]) -> None:
    assert draw_seed(*other) != draw_seed(1, "base", "prompt", 0)


def test_arguments_are_separated() -> None:
    assert draw_seed(1, "1", "a", 0) != draw_seed(11, "", "a", 0)
    assert draw_seed(1, "base", "a", 11) != draw_seed(1, "base", "a1", 1)


def test_many_seeds_are_distinct() -> None:
    seeds = {
        draw_seed(seed, policy, f"{prompt:016x}", draw)
        for seed in range(2)
        for policy in ("base", "rebel-1")
        for prompt in range(500)
        for draw in range(5)
    }
    assert len(seeds) == 10_000


def test_rows_keep_the_sampled_ids_and_show_the_text_without_special_tokens() -> None:
    tokenizer = small_tokenizer()
    text = tokenizer("the quick", add_special_tokens=False)["input_ids"]
    ended = Completion([*text, tokenizer.eos_token_id], "stop")
    cut = Completion(text, "length")
    requests = [Request("p", [1, 2], [10, 11]), Request("q", [3], [12, 13])]
    rows = response_rows(requests, [[ended, cut], [cut, ended]], tokenizer)
    assert [(row["prompt_id"], row["draw"], row["seed"]) for row in rows] == [
        ("p", 0, 10),
        ("p", 1, 11),
        ("q", 0, 12),
        ("q", 1, 13),
    ]
    assert [row["finish_reason"] for row in rows] == ["stop", "length", "length", "stop"]
    assert rows[0]["response_token_ids"] == [*text, tokenizer.eos_token_id]
    assert rows[1]["response_token_ids"] == text
    assert {row["response"] for row in rows} == {"the quick"}
    assert pa.Table.from_pylist(rows, schema=RESPONSES.schema).num_rows == 4


def test_a_missing_completion_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        response_rows([Request("p", [1], [10, 11])], [[Completion([1], "stop")]], small_tokenizer())
