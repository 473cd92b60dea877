"""Win rates against counting by hand."""

import itertools
import tracemalloc
from collections.abc import Mapping, Sequence
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rlhf.evaluation.duels
from rlhf.base.errors import UserError
from rlhf.evaluation.bootstrap import bootstrap_interval
from rlhf.evaluation.duels import duels, prompt_win_rates
from rlhf.evaluation.scored_responses import ScoredResponses

Draw = tuple[float | None, int]
"""Score, and length in characters."""
Sides = list[tuple[list[Draw], list[Draw]]]


def side(draws: Mapping[str, Sequence[Draw]]) -> ScoredResponses:
    """The draws of each prompt, by its name."""
    rows = [
        {
            "prompt_id": prompt_id,
            "draw": draw,
            "characters": characters,
            "tokens": 1,
            "truncated": False,
            "reward": score,
            "invalid": None if score is not None else "too_long",
        }
        for prompt_id in sorted(draws)
        for draw, (score, characters) in enumerate(draws[prompt_id])
    ]
    types = [pa.string(), pa.int32(), pa.int32(), pa.int32(), pa.bool_(), pa.float32(), pa.string()]
    table = pa.Table.from_pylist(rows, schema=pa.schema(list(zip(rows[0], types, strict=True))))
    return ScoredResponses(pa.array(sorted(draws)), np.array([len(draws[name]) for name in sorted(draws)]), table)


draws = st.lists(st.tuples(st.none() | st.integers(-3, 3).map(float), st.integers(0, 40)), min_size=1, max_size=4)
sides = st.lists(st.tuples(draws, draws), min_size=1, max_size=6)


def test_counts_pairs_of_draws_with_ties_half() -> None:
    found = duels(side({"p": [(1.0, 3), (2.0, 5)]}), side({"p": [(1.0, 4), (0.0, 4), (3.0, 4)]}))
    # 1 against 1, 0, 3: a tie, a win, a loss; 2 against the same: a win, a win, a loss
    assert found.outcomes.tolist() == [0.5, 1, 0, 1, 1, 0]
    assert found.length_differences.tolist() == [-1, -1, -1, 1, 1, 1]
    assert found.counts.tolist() == [6]
    assert prompt_win_rates(found).tolist() == [3.5 / 6]


def test_every_prompt_counts_the_same_whatever_its_number_of_draws() -> None:
    policy = {"a": [(1.0, 1)], "b": [(0.0, 1), (0.0, 1), (0.0, 1)]}
    base = {"a": [(0.0, 1)], "b": [(1.0, 1), (1.0, 1)]}
    assert prompt_win_rates(duels(side(policy), side(base))).mean() == 0.5


@settings(deadline=None)
@given(sides, st.integers(1, 7))
def test_agrees_with_counting(pairs: Sides, block: int) -> None:
    """Prompt by prompt and in order, whatever is computed at a time."""
    policy, base = (side({str(i): pair[which] for i, pair in enumerate(pairs)}) for which in (0, 1))
    games = [
        [(a, b) for a, b in itertools.product(left, right) if a[0] is not None and b[0] is not None]
        for left, right in pairs
    ]
    games = [played for played in games if played]
    with mock.patch.object(rlhf.evaluation.duels, "PROMPTS_PER_BLOCK", block):
        if not games:
            with pytest.raises(UserError, match=r"no.* valid score"):
                duels(policy, base)
            return
        found, mirrored = duels(policy, base), duels(base, policy)
    outcomes = [[(a > b) + 0.5 * (a == b) for (a, _), (b, _) in played] for played in games]
    assert found.outcomes.tolist() == list(itertools.chain(*outcomes))
    assert found.length_differences.tolist() == [a - b for (_, a), (_, b) in itertools.chain(*games)]
    assert prompt_win_rates(found).tolist() == [sum(played) / len(played) for played in outcomes]
    assert prompt_win_rates(mirrored) == pytest.approx(1 - prompt_win_rates(found))


@settings(deadline=None)
@given(st.lists(draws.filter(lambda found: any(score is not None for score, _ in found)), min_size=1, max_size=6))
def test_base_against_itself_is_exactly_one_half(answers: list[list[Draw]]) -> None:
    same = side({str(i): found for i, found in enumerate(answers)})
    rates = prompt_win_rates(duels(same, same))
    assert set(rates) == {0.5}
    assert bootstrap_interval(rates, 100, 0.95, 3) == (0.5, 0.5)


def test_other_prompts_on_one_side_are_an_error() -> None:
    one, both = side({"a": [(1.0, 1)]}), side({"a": [(1.0, 1)], "b": [(1.0, 1)]})
    for policy, base in ((one, both), (both, one)):
        with pytest.raises(UserError, match="'b'"):
            duels(policy, base)


def test_a_duel_takes_less_than_40_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the peak of all that is computed of duels, beside the blocks: for 25 million that is 1 GB."""
    monkeypatch.setattr(rlhf.evaluation.duels, "PROMPTS_PER_BLOCK", 500)
    generator, prompts, draws = np.random.default_rng(0), 20_000, 5
    columns = {
        "characters": pa.array(generator.integers(0, 3000, prompts * draws, np.int32)),
        "reward": pa.array(generator.normal(size=prompts * draws).astype(np.float32)),
    }
    keys, counts, rows = pa.array(map(str, range(prompts))), np.full(prompts, draws), pa.table(columns)
    mixed = rows.take(pa.array(generator.permutation(len(rows))))
    tracemalloc.start()  # it knows of numpy's arrays too
    found = duels(ScoredResponses(keys, counts, rows), ScoredResponses(keys, counts, mixed))
    prompt_win_rates(found)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak / len(found.wins) < 40
