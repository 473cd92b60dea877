"""Batches by length: every sequence once, within the budget, of similar length."""

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf.sequence_batches import batches_by_length, pad_right

lengths_of_sequences = st.lists(st.integers(1, 500), max_size=60)
budgets = st.integers(1, 3000)


@given(lengths_of_sequences, budgets)
def test_every_index_occurs_once(lengths: list[int], budget: int) -> None:
    batches = batches_by_length(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(batches)


@given(lengths_of_sequences, budgets)
def test_a_batch_fits_the_budget_or_is_a_single_sequence(lengths: list[int], budget: int) -> None:
    for batch in batches_by_length(lengths, budget):
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= budget


@given(lengths_of_sequences, budgets)
def test_no_two_neighbours_would_fit_together(lengths: list[int], budget: int) -> None:
    """Greedy and sorted: the first sequence of a batch did not fit into the one before."""
    batches = batches_by_length(lengths, budget)
    for batch, following in itertools.pairwise(batches):
        assert max(lengths[index] for index in batch) <= min(lengths[index] for index in following)
        assert (len(batch) + 1) * lengths[following[0]] > budget


@given(lengths_of_sequences, budgets)
def test_equal_lengths_keep_their_order(lengths: list[int], budget: int) -> None:
    flat = [index for batch in batches_by_length(lengths, budget) for index in batch]
    assert flat == sorted(flat, key=lambda index: (lengths[index], index))


@given(st.lists(st.lists(st.integers(1, 100), min_size=1, max_size=20), min_size=1, max_size=10))
def test_padding_is_on_the_right(sequences: list[list[int]]) -> None:
    padded = pad_right(sequences, torch.device("cpu"))
    assert padded.dtype == torch.int64
    assert padded.shape == (len(sequences), max(map(len, sequences)))
    for row, sequence in zip(padded.tolist(), sequences, strict=True):
        assert row[: len(sequence)] == sequence
        assert not any(row[len(sequence) :])
