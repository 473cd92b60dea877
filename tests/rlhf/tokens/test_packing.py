"""Packs: their layout, and how a token budget divides them."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf.tokens.packing import (
    CPU_PACK_TOKENS,
    Pack,
    PromptGroup,
    balanced_packs,
    pack_budget,
    pack_groups,
    pieces_of,
    smallest_packs,
)
from small_models import CPU

TOKENS = st.lists(st.integers(0, 99), min_size=1, max_size=6)
GROUPS = st.lists(
    st.builds(PromptGroup, prompt=TOKENS, responses=st.lists(TOKENS, min_size=1, max_size=4)), min_size=1, max_size=6
)


def test_the_layout_of_a_pack() -> None:
    pack = Pack([PromptGroup([1, 2, 3], [[4, 5], [6]]), PromptGroup([7], [[8, 9, 10]])], CPU)
    assert pack.input_ids.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]
    assert pack.position_ids.tolist() == [[0, 1, 2, 3, 4, 3, 0, 1, 2, 3]]
    assert [(one.start, one.stop, one.prefix) for one in pack.segments] == [
        (0, 3, range(0)),
        (3, 5, range(3)),
        (5, 6, range(3)),
        (6, 7, range(0)),
        (7, 10, range(6, 7)),
    ]
    assert pack.last_tokens().tolist() == [4, 5, 9]
    assert pack.prompt_ends().tolist() == [3, 3, 7]
    assert pack.last_tokens(padding=6).tolist() == [4, 2, 9]
    assert Pack([PromptGroup([5, 6, 6], [[6]]), PromptGroup([6, 6], [[6]])], CPU).last_tokens(padding=6).tolist() == [
        0,
        4,
    ]
    tokens = pack.response_tokens()
    assert tokens.predictors.tolist() == [2, 3, 2, 6, 7, 8]
    assert tokens.targets.tolist() == [3, 4, 5, 7, 8, 9]
    assert tokens.of_response.tolist() == [0, 0, 1, 2, 2, 2]
    layout = pack.flash_layout
    assert layout.query_starts.tolist() == [0, 3, 5, 6, 7, 10]
    assert layout.key_starts.tolist() == [0, 3, 8, 12, 13, 17]
    assert layout.seen.tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 0, 1, 2, 5, 6, 6, 7, 8, 9]
    assert (layout.longest_query, layout.longest_key) == (3, 5)
    assert layout.query_starts.dtype == layout.key_starts.dtype == torch.int32


def test_an_empty_response_is_a_response_without_tokens_and_no_segment() -> None:
    pack = Pack([PromptGroup([1, 2], [[], [3]]), PromptGroup([4], [[5, 6], []])], CPU)
    assert [(one.start, one.stop) for one in pack.segments] == [(0, 2), (2, 3), (3, 4), (4, 6)]
    assert [one.tokens for one in pack.responses] == [0, 1, 2, 0]
    tokens = pack.response_tokens()
    assert tokens.predictors.tolist() == [1, 3, 4]
    assert tokens.targets.tolist() == [2, 4, 5]
    assert tokens.of_response.tolist() == [1, 2, 2]
    assert pack.flash_layout.query_starts.tolist() == [0, 2, 3, 4, 6]


@given(GROUPS)
def test_each_response_with_its_prefix_is_the_whole_sequence(groups: list[PromptGroup]) -> None:
    pack = Pack(groups, CPU)
    ids, positions = pack.input_ids[0].tolist(), pack.position_ids[0].tolist()
    expected = [group.prompt + response for group in groups for response in group.responses]
    found = [[*one.prefix, *range(one.start, one.stop)] for one in pack.responses]
    assert [[ids[index] for index in indices] for indices in found] == expected
    assert [[positions[index] for index in indices] for indices in found] == [list(range(len(e))) for e in expected]


@given(GROUPS, st.integers(1, 60), st.integers(1, 4))
def test_balanced_packs_hold_every_group_once(groups: list[PromptGroup], budget: int, processes: int) -> None:
    packs = balanced_packs([group.tokens for group in groups], budget, processes)
    assert sorted(group for pack in packs for group in pack) == list(range(len(groups)))
    assert len(packs) % processes == 0
    assert len(packs) < len(groups) + processes  # with one group in each, nothing more can be split
    sizes = [sum(groups[group].tokens for group in pack) for pack in packs]
    for pack, size in zip(packs, sizes, strict=True):
        assert len(pack) <= 1 or size <= budget
    # Without its last group, no pack is fuller than any other: packs have similar sizes.
    largest = max(group.tokens for group in groups)
    assert max(sizes) - min(sizes) <= largest


def test_no_groups_are_one_empty_pack_per_process() -> None:
    assert balanced_packs([], 100, 3) == [[], [], []]


def test_the_budget_of_a_cpu_is_capped() -> None:
    assert pack_budget(10**6, CPU) == CPU_PACK_TOKENS
    assert pack_budget(100, CPU) == 100
    assert pack_budget(10**6, torch.device("cuda")) == 10**6


@given(GROUPS, st.integers(1, 60))
def test_packs_hold_every_response_once_within_the_budget(groups: list[PromptGroup], budget: int) -> None:
    packs = list(pack_groups(groups, budget))
    placed = sorted((group, response) for pack in packs for group, responses in pack for response in responses)
    assert placed == [(index, r) for index, group in enumerate(groups) for r in range(len(group.responses))]
    for pack in packs:
        tokens = sum(
            len(groups[group].prompt) + sum(len(groups[group].responses[r]) for r in responses)
            for group, responses in pack
        )
        assert tokens <= budget or [len(responses) for _, responses in pack] == [1]


@given(GROUPS, st.integers(0, 60))
def test_pieces_hold_the_responses_in_order_and_never_divide_two(groups: list[PromptGroup], budget: int) -> None:
    for group in groups:
        pieces = pieces_of(group, budget)
        assert [ids for piece in pieces for ids in piece.responses] == group.responses
        assert all(piece.prompt == group.prompt for piece in pieces)
        if len(group.responses) <= 2 or group.tokens <= budget:
            assert pieces == [group] and (len(group.responses) > 2 or smallest_packs(group) == [group.tokens])
        else:
            assert all(piece.tokens <= budget or len(piece.responses) == 1 for piece in pieces)
            assert smallest_packs(group) == [len(group.prompt) + len(ids) for ids in group.responses]


@given(GROUPS)
def test_a_large_budget_computes_each_prompt_once(groups: list[PromptGroup]) -> None:
    (pack,) = pack_groups(groups, 10**6)
    assert sorted(group for group, _ in pack) == list(range(len(groups)))
    sizes = [groups[group].tokens for group, _ in pack]
    assert sizes == sorted(sizes, reverse=True)
