"""Pairs as objects: their columns, and views of a table."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from rlhf.base.artifacts import ArtifactError
from rlhf.logprobs.schema import LOGPROBS
from rlhf.pairs.schema import (
    PAIR_COLUMNS,
    PAIRS,
    REFERENCE_COLUMNS,
    REWARD_COLUMNS,
    UNSCORED_PAIRS,
    Pair,
    PairTable,
    read_pair_table,
    require_rewards,
)
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


def test_pairs_without_scores_have_rewards_of_nan_and_mix_with_others(tmp_path: Path) -> None:
    assert [
        f"{side}_{name}" for name in ("reward", "win_probability") for side in ("chosen", "rejected")
    ] == REWARD_COLUMNS
    rows = [{**row, **dict.fromkeys(REWARD_COLUMNS)} for row in pair_rows(3)]
    UNSCORED_PAIRS.write(tmp_path / "unscored.parquet", rows, {"spec": {"chosen_score": None}})
    with pytest.raises(ArtifactError, match=r"row 0: pairs\.chosen_reward is null"):
        PAIRS.write(tmp_path / "scored.parquet", rows, {"spec": {"chosen_score": "s"}})
    PAIRS.write(tmp_path / "scored.parquet", pair_rows(3, 1), {"spec": {"chosen_score": "s"}})
    unscored, scored = (read_pair_table(tmp_path / f"{name}.parquet", PAIR_COLUMNS) for name in ("unscored", "scored"))
    assert unscored.schema.remove_metadata() == scored.schema.remove_metadata()
    pairs = PairTable(pa.concat_tables([unscored, scored]))
    assert [math.isnan(pair.chosen_reward) for pair in pairs] == [True] * 3 + [False] * 3
    assert [math.isnan(pair.rejected_win_probability) for pair in pairs] == [True] * 3 + [False] * 3
    assert list(pairs[0].chosen_token_ids) == rows[0]["chosen_token_ids"]
    require_rewards(scored, "rebel")
    require_rewards(scored.slice(0, 0), "rebel")
    with pytest.raises(ArtifactError, match=r"rebel learns from rewards, and 3 of 6 pairs have none.*chosen_score"):
        require_rewards(pa.concat_tables([unscored, scored]), "rebel")
