"""Pairs as objects: their columns, and views of a table."""

import dataclasses
import math

import numpy as np
import pyarrow as pa
import pytest

from rlhf.logprobs.schema import LOGPROBS
from rlhf.pairs.schema import PAIR_COLUMNS, PAIRS, REFERENCE_COLUMNS, Pair, PairTable
from small_models import pair_rows


def table(count: int, seed: int = 0) -> pa.Table:
    return pa.Table.from_pylist(pair_rows(count, seed), PAIRS.schema).select(PAIR_COLUMNS)


def test_a_pair_holds_columns_of_its_two_artifacts() -> None:
    names = [field.name for field in dataclasses.fields(Pair)]
    assert [*PAIR_COLUMNS, *REFERENCE_COLUMNS] == names
    assert set(PAIR_COLUMNS) <= set(PAIRS.schema.names)
    assert REFERENCE_COLUMNS == ["chosen_logprob", "rejected_logprob"]
    assert set(REFERENCE_COLUMNS) <= set(LOGPROBS.schema.names)


def test_a_pair_is_frozen_and_views_the_table() -> None:
    (row,) = pair_rows(1)
    pair = PairTable(table(1))[0]
    for ids in (pair.prompt_token_ids, pair.chosen_token_ids, pair.rejected_token_ids):
        assert isinstance(ids, np.ndarray)
        assert ids.dtype == np.int32 and not ids.flags.owndata
    assert list(pair.prompt_token_ids) == row["prompt_token_ids"]
    assert math.isnan(pair.chosen_logprob) and math.isnan(pair.rejected_logprob)
    with pytest.raises(dataclasses.FrozenInstanceError):
        pair.prompt_id = "other"  # type: ignore[misc]


def test_the_prompt_group_has_the_chosen_response_first() -> None:
    (row,) = pair_rows(1)
    group = PairTable(table(1))[0].prompt_group
    parts = [group.prompt, *group.responses]
    names = ("prompt_token_ids", "chosen_token_ids", "rejected_token_ids")
    assert [list(ids) for ids in parts] == [row[name] for name in names]
    assert group.tokens == sum(map(len, parts))
