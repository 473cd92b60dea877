"""Win rates against counting by hand, intervals against theory, the regression against a generic optimizer."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.errors import UserError
from rlhf.evaluation import ScoredResponse
from rlhf.win_rates import (
    Duel,
    bootstrap_interval,
    duels,
    length_controlled_win_rate,
    logistic_regression,
    prompt_win_rates,
)

Scored = list[tuple[float | None, int]]


def draws(*scored: tuple[float | None, int]) -> list[ScoredResponse]:
    """Draws from pairs of score and length in characters."""
    return [
        ScoredResponse(i, "x" * length, 1, "stop", score, None if score is not None else "too_long")
        for i, (score, length) in enumerate(scored)
    ]


side = st.lists(st.tuples(st.none() | st.integers(-3, 3).map(float), st.integers(0, 40)), min_size=1, max_size=4)
sides = st.lists(st.tuples(side, side), min_size=1, max_size=6)


def test_counts_pairs_of_draws_with_ties_half() -> None:
    found = duels({"p": draws((1.0, 3), (2.0, 5))}, {"p": draws((1.0, 4), (0.0, 4), (3.0, 4))})
    # 1 against 1, 0, 3: a tie, a win, a loss; 2 against the same: a win, a win, a loss
    assert found["p"].outcomes.tolist() == [0.5, 1, 0, 1, 1, 0]
    assert found["p"].length_differences.tolist() == [-1, -1, -1, 1, 1, 1]
    assert prompt_win_rates(found).tolist() == [3.5 / 6]


def test_every_prompt_counts_the_same_whatever_its_number_of_draws() -> None:
    policy = {"a": draws((1.0, 1)), "b": draws((0.0, 1), (0.0, 1), (0.0, 1))}
    base = {"a": draws((0.0, 1)), "b": draws((1.0, 1), (1.0, 1))}
    assert prompt_win_rates(duels(policy, base)).mean() == 0.5


@settings(deadline=None)
@given(sides)
def test_agrees_with_counting(
    pairs: list[tuple[list[tuple[float | None, int]], list[tuple[float | None, int]]]],
) -> None:
    policy = {str(i): draws(*left) for i, (left, _) in enumerate(pairs)}
    base = {str(i): draws(*right) for i, (_, right) in enumerate(pairs)}
    expected = []
    for left, right in pairs:
        games = [(a > b) + 0.5 * (a == b) for (a, _), (b, _) in itertools.product(left, right)
                 if a is not None and b is not None]  # fmt: skip
        expected += [sum(games) / len(games)] if games else []
    if not expected:
        with pytest.raises(UserError, match=r"no.* valid score"):
            duels(policy, base)
        return
    assert sorted(prompt_win_rates(duels(policy, base))) == pytest.approx(sorted(expected))
    mirrored = prompt_win_rates(duels(base, policy))
    assert mirrored == pytest.approx(1 - prompt_win_rates(duels(policy, base)))


@settings(deadline=None)
@given(st.lists(side.filter(lambda found: any(score is not None for score, _ in found)), min_size=1, max_size=6))
def test_base_against_itself_is_exactly_one_half(answers: list[Scored]) -> None:
    same = {str(i): draws(*found) for i, found in enumerate(answers)}
    rates = prompt_win_rates(duels(same, same))
    assert set(rates) == {0.5}
    assert bootstrap_interval(rates, 100, 0.95, 3) == (0.5, 0.5)
    controlled = length_controlled_win_rate(duels(same, same))
    assert controlled is not None
    assert np.float32(controlled) == 0.5


def test_other_prompts_on_one_side_are_an_error() -> None:
    with pytest.raises(UserError, match="'b'"):
        duels({"a": draws((1.0, 1))}, {"a": draws((1.0, 1)), "b": draws((1.0, 1))})


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


def random_duels(bias: float, length_effect: float, shift: float, seed: int) -> dict[str, Duel]:
    generator = np.random.default_rng(seed)
    found = {}
    for i in range(400):
        count = int(generator.integers(1, 10))
        differences = np.round(generator.normal(shift, 50, count))
        chance = 1 / (1 + np.exp(-(bias + length_effect * np.tanh(differences / 50))))
        outcomes = (generator.random(count) < chance).astype(float)
        outcomes[generator.random(count) < 0.1] = 0.5
        found[str(i)] = Duel(outcomes, differences)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_length_control_agrees_with_a_generic_optimizer(seed: int) -> None:
    found = random_duels(0.3, 1.5, 30, seed)
    outcomes = np.concatenate([duel.outcomes for duel in found.values()])
    differences = np.concatenate([duel.length_differences for duel in found.values()])
    weights = np.concatenate([np.full(len(duel.outcomes), 1 / len(duel.outcomes)) for duel in found.values()])
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
    found = {"a": Duel(np.array([1.0, 0.0]), np.zeros(2)), "b": Duel(np.array([1.0]), np.zeros(1))}
    assert length_controlled_win_rate(found) == 0.75


def test_length_control_of_one_sided_outcomes_is_their_limit() -> None:
    found = {"a": Duel(np.array([1.0, 1.0]), np.array([3.0, -4.0]))}
    assert length_controlled_win_rate(found) == 1.0


@pytest.mark.parametrize(
    "differences",
    [[5.0, 5.0, 5.0], [1.0, 3.0, 2.0], [4.0, 3.0, -2.0], [-4.0, -3.0, 2.0]],
    ids=["constant", "always longer", "separated", "reversed"],
)
def test_length_control_says_nothing_where_length_explains_all(differences: list[float]) -> None:
    assert length_controlled_win_rate({"a": Duel(np.array([1.0, 1.0, 0.0]), np.array(differences))}) is None


def test_length_control_where_wins_and_losses_meet_at_equal_length_is_what_is_seen_there() -> None:
    found = {"a": Duel(np.array([1.0, 0.5, 1.0, 0.0]), np.array([5.0, 0.0, 0.0, -5.0]))}
    assert length_controlled_win_rate(found) == 0.75


def test_regression_finds_the_only_stationary_point() -> None:
    generator = np.random.default_rng(2)
    features = np.stack([np.ones(300), generator.normal(size=300)], axis=1)
    labels, weights = generator.random(300), generator.random(300) + 0.1
    coefficients = logistic_regression(features, labels, weights)
    residual = labels - 1 / (1 + np.exp(-features @ coefficients))
    assert features.T @ (weights * residual) == pytest.approx([0, 0], abs=1e-8)
