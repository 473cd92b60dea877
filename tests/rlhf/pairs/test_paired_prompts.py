"""Prompts with one or several pairs: which rows belong together, and which responses are distinct."""

from itertools import chain
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.pairs.paired_prompts import PairedPrompts, SeveralPairs, with_starts
from rlhf.pairs.schema import PAIR_COLUMNS, PAIRS, SIDES, Pair, PairTable
from several_pairs import several_prompts, several_rows
from small_models import pair_rows


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return with_starts(pa.Table.from_pylist(rows, PAIRS.schema).select(PAIR_COLUMNS))


@given(st.lists(st.integers(1, 6), max_size=12), st.integers(1, 7))
@settings(deadline=None, max_examples=30)
def test_prompts_have_their_rows_whatever_the_chunks(counts: list[int], chunk: int) -> None:
    whole = several_rows(len(counts), draws=9)
    rows = [row for of_one, count in zip(whole, counts, strict=True) for row in of_one[:count]]
    slices = [table(rows)[start : start + chunk] for start in range(0, len(rows), chunk)]
    prompts = PairedPrompts(pa.concat_tables([table(rows)[:0], *slices]))
    assert len(prompts) == len(counts) and len(prompts.pairs) == len(rows)
    assert [len(prompt.pairs) for prompt in prompts] == counts
    for prompt, count, of_one in zip(prompts, counts, whole, strict=True):
        assert isinstance(prompt, Pair) == (count == 1)
        assert {pair.prompt_id for pair in prompt.pairs} == {prompt.prompt_id} == {of_one[0]["prompt_id"]}
        assert [pair.rejected_reward for pair in prompt.pairs] == pytest.approx(
            [row["rejected_reward"] for row in of_one[:count]]
        )
    assert [prompt.prompt_id for prompt in prompts[1:3]] == [prompt.prompt_id for prompt in list(prompts)[1:3]]


def test_files_that_meet_at_the_same_prompt_are_two_prompts() -> None:
    (rows,) = several_rows(1)
    prompts = PairedPrompts(pa.concat_tables([table(rows), table(rows[:2])]))
    assert [len(prompt.pairs) for prompt in prompts] == [len(rows), 2]


def test_each_response_is_in_the_group_once_and_the_places_say_where() -> None:
    for prompt in several_prompts(6):
        assert len(prompt.pairs) in (3, 4)
        group = prompt.prompt_group
        assert len(group.responses) == 1 + len(prompt.pairs)
        assert group.tokens == len(group.prompt) + sum(map(len, group.responses))
        for pair, (chosen, rejected) in zip(prompt.pairs, prompt.places, strict=True):
            assert list(group.responses[chosen]) == pair.chosen_token_ids
            assert list(group.responses[rejected]) == pair.rejected_token_ids


def test_draws_of_the_same_tokens_are_one_response() -> None:
    """Both as the rejected ones of two pairs, and as chosen in one and rejected in another."""
    (pair, *_) = several_prompts(1)[0].pairs
    swapped = Pair(
        pair.prompt_id, pair.prompt_token_ids, pair.rejected_token_ids, pair.chosen_token_ids, 1.0, 0.0, 0.5, 0.5
    )
    prompt = SeveralPairs([pair, swapped, pair])
    assert [list(ids) for ids in prompt.prompt_group.responses] == [pair.chosen_token_ids, pair.rejected_token_ids]
    assert prompt.places == [(0, 1), (1, 0), (0, 1)]


@pytest.mark.parametrize("rows", [pair_rows(12, seed=1), list(chain.from_iterable(several_rows(7)))])
def test_the_largest_prompt_counts_each_response_once_and_the_longest_part_is_not_divided(
    rows: list[dict[str, Any]],
) -> None:
    prompts = PairedPrompts(table(rows))
    by_hand: dict[str, set[tuple[int, ...]]] = {}
    for row in rows:
        parts = by_hand.setdefault(row["prompt_id"], {("prompt", *row["prompt_token_ids"])})  # type: ignore[arg-type]
        parts |= {tuple(row["chosen_token_ids"]), tuple(row["rejected_token_ids"])}
    assert prompts.largest == max(sum(map(len, parts)) - 1 for parts in by_hand.values())
    together = [[*map(len, parts)] for parts in by_hand.values() if len(parts) == 3]
    alone = [len(row["prompt_token_ids"]) + len(row[f"{side}_token_ids"]) for row in rows for side in SIDES]
    assert prompts.longest == max([sum(lengths) - 1 for lengths in together] or alone)
    nothing = PairedPrompts(table([]))
    assert (nothing.longest, nothing.largest, len(nothing)) == (0, 0, 0)


def test_pairs_alone_are_those_of_the_table() -> None:
    rows = pair_rows(5)
    prompts, pairs = PairedPrompts(table(rows)), PairTable(table(rows).select(PAIR_COLUMNS))
    assert [prompt.prompt_id for prompt in prompts] == [pair.prompt_id for pair in pairs]
    assert all(prompt.pairs == (prompt,) and prompt.places == ((0, 1),) for prompt in prompts)
