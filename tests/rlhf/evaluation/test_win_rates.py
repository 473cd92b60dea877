"""Win rates against counting by hand, intervals against theory, the regression against a generic optimizer."""

import itertools
import math
import tracemalloc
from collections.abc import Mapping, Sequence
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rlhf.evaluation.win_rates
from rlhf.base.errors import UserError
from rlhf.evaluation.scored_responses import ScoredResponses
from rlhf.evaluation.win_rates import (
    Duels,
    bootstrap_interval,
    duels,
    length_controlled_win_rate,
    logistic_regression,
    prompt_win_rates,
)

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
    with mock.patch.object(rlhf.evaluation.win_rates, "PROMPTS_PER_BLOCK", block):
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
    controlled = length_controlled_win_rate(duels(same, same))
    assert controlled is not None
    assert np.float32(controlled) == 0.5


def test_other_prompts_on_one_side_are_an_error() -> None:
    one, both = side({"a": [(1.0, 1)]}), side({"a": [(1.0, 1)], "b": [(1.0, 1)]})
    for policy, base in ((one, both), (both, one)):
        with pytest.raises(UserError, match="'b'"):
            duels(policy, base)


def test_interval_is_that_of_the_normal_approximation_for_many_prompts() -> None:
    values = np.random.default_rng(0).choice([0.0, 0.5, 1.0], size=2000, p=[0.2, 0.2, 0.6])
    low, high = bootstrap_interval(values, 2000, 0.9, seed=1)
    half_width = 1.6449 * values.std() / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half_width, abs=0.15 * half_width)
    assert high == pytest.approx(values.mean() + half_width, abs=0.15 * half_width)


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(7)
    covered = 0
    for seed in range(200):
        low, high = bootstrap_interval((generator.random(60) < 0.7).astype(float), 300, 0.9, seed)
        covered += low <= 0.7 <= high
    assert 165 <= covered <= 195


def test_interval_depends_on_the_seed_alone() -> None:
    values = np.linspace(0, 1, 50) ** 2
    assert bootstrap_interval(values, 200, 0.95, 1) == bootstrap_interval(values, 200, 0.95, 1)
    assert bootstrap_interval(values, 200, 0.95, 1) != bootstrap_interval(values, 200, 0.95, 2)


def duels_of(*prompts: tuple[Sequence[float], Sequence[int]]) -> Duels:
    """Outcomes and length differences of each prompt."""
    outcomes, differences = (np.concatenate([np.array(prompt[which]) for prompt in prompts]) for which in (0, 1))
    counts = np.array([len(outcomes) for outcomes, _ in prompts])
    return Duels((2 * outcomes).astype(np.int8), differences.astype(np.int32), counts)


def random_duels(bias: float, length_effect: float, shift: float, seed: int) -> Duels:
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(400):
        count = int(generator.integers(1, 10))
        differences = np.round(generator.normal(shift, 50, count))
        chance = 1 / (1 + np.exp(-(bias + length_effect * np.tanh(differences / 50))))
        outcomes = (generator.random(count) < chance).astype(float)
        outcomes[generator.random(count) < 0.1] = 0.5
        found.append((outcomes.tolist(), differences.tolist()))
    return duels_of(*found)


@pytest.mark.parametrize("seed", range(3))
def test_length_control_agrees_with_a_generic_optimizer(seed: int) -> None:
    found = random_duels(0.3, 1.5, 30, seed)
    outcomes, differences = found.outcomes, found.length_differences.astype(float)
    weights = np.concatenate([np.full(count, 1 / count) for count in found.counts])
    feature = torch.tensor(np.tanh(differences / differences.std()))
    parameters = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def negative_log_likelihood() -> torch.Tensor:
        optimizer.zero_grad()
        logits = parameters[0] + parameters[1] * feature
        target, weight = torch.tensor(outcomes), torch.tensor(weights)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(negative_log_likelihood)  # type: ignore[no-untyped-call]
    expected = torch.sigmoid(parameters[0]).item()
    assert length_controlled_win_rate(found) == pytest.approx(expected, abs=1e-5)


def test_length_control_takes_away_what_length_alone_gave() -> None:
    found = random_duels(0.0, 3.0, 40, seed=4)
    assert prompt_win_rates(found).mean() > 0.65
    assert length_controlled_win_rate(found) == pytest.approx(0.5, abs=0.06)


def test_length_control_of_equal_lengths_is_the_win_rate() -> None:
    found = duels_of(([1.0, 0.0], [0, 0]), ([1.0], [0]))
    assert length_controlled_win_rate(found) == 0.75


def test_length_control_of_one_sided_outcomes_is_their_limit() -> None:
    found = duels_of(([1.0, 1.0], [3, -4]))
    assert length_controlled_win_rate(found) == 1.0


@pytest.mark.parametrize(
    "differences",
    [[5, 5, 5], [1, 3, 2], [4, 3, -2], [-4, -3, 2]],
    ids=["constant", "always longer", "separated", "reversed"],
)
def test_length_control_says_nothing_where_length_explains_all(differences: list[int]) -> None:
    assert length_controlled_win_rate(duels_of(([1.0, 1.0, 0.0], differences))) is None


def test_length_control_where_wins_and_losses_meet_at_equal_length_is_what_is_seen_there() -> None:
    found = duels_of(([1.0, 0.5, 1.0, 0.0], [5, 0, 0, -5]))
    assert length_controlled_win_rate(found) == 0.75


def test_length_control_does_not_depend_on_what_is_computed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    found = random_duels(0.3, 1.5, 30, seed=5)
    whole = length_controlled_win_rate(found)
    monkeypatch.setattr(rlhf.evaluation.win_rates, "DUELS_PER_BLOCK", 100)
    assert length_controlled_win_rate(found) == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("rows", [300, 7])
def test_regression_finds_the_only_stationary_point(rows: int) -> None:
    generator = np.random.default_rng(2)
    features = np.stack([np.ones(300), generator.normal(size=300)], axis=1)
    labels, weights = generator.random(300), generator.random(300) + 0.1
    starts = range(0, 300, rows)
    blocks = [tuple(values[start : start + rows] for values in (features, labels, weights)) for start in starts]
    coefficients = logistic_regression(lambda: blocks)
    residual = labels - 1 / (1 + np.exp(-features @ coefficients))
    assert features.T @ (weights * residual) == pytest.approx([0, 0], abs=1e-8)


def test_a_duel_takes_less_than_40_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the peak of all that is computed of duels, beside the blocks: for 25 million that is 1 GB."""
    monkeypatch.setattr(rlhf.evaluation.win_rates, "PROMPTS_PER_BLOCK", 500)
    monkeypatch.setattr(rlhf.evaluation.win_rates, "DUELS_PER_BLOCK", 2**13)
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
    controlled = length_controlled_win_rate(found)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert controlled is not None
    assert peak / len(found.wins) < 40
