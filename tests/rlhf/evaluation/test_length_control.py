"""The regression of the length control against a generic optimizer, and its limits."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rlhf.evaluation.length_control
from rlhf.evaluation.duels import Duels, prompt_win_rates
from rlhf.evaluation.length_control import length_controlled_win_rate, logistic_regression


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
    monkeypatch.setattr(rlhf.evaluation.length_control, "DUELS_PER_BLOCK", 100)
    assert length_controlled_win_rate(found) == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("block", [300, 7])
def test_regression_finds_the_root_of_the_score(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rlhf.evaluation.length_control, "DUELS_PER_BLOCK", block)
    generator = np.random.default_rng(2)
    feature, wins = generator.normal(size=300), generator.integers(0, 3, 300).astype(np.int8)
    weights = generator.random(300) + 0.1
    intercept, slope = logistic_regression(feature, wins, weights / weights.sum())
    residual = weights * (wins / 2 - 1 / (1 + np.exp(-intercept - slope * feature)))
    assert [residual.sum(), residual @ feature] == pytest.approx([0, 0], abs=1e-10)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(-40, 40)), min_size=4, max_size=30))
def test_length_control_is_a_rate_or_none_for_any_duels(rows: list[tuple[float, int]]) -> None:
    """Nearly separated ones included, whose slope is steep: the regression ends, and in a rate."""
    rate = length_controlled_win_rate(duels_of(([outcome for outcome, _ in rows], [length for _, length in rows])))
    assert rate is None or 0 <= rate <= 1
