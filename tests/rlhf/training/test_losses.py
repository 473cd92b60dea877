"""Losses against the formulas of the papers, in float64, written independently of the module."""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf.training.loss import PairBatch
from rlhf.training.losses.apo_zero import ApoZeroSettings
from rlhf.training.losses.dpo import DpoSettings
from rlhf.training.losses.dpo_norm import DpoNormSettings
from rlhf.training.losses.hinge import HingeSettings
from rlhf.training.losses.ipo import IpoSettings
from rlhf.training.losses.orpo import OrpoSettings, log_one_minus_exp
from rlhf.training.losses.rebel import RebelSettings
from rlhf.training.losses.simpo import SimpoSettings
from rlhf.training.losses.sppo import SppoSettings

Loss = (
    RebelSettings
    | DpoSettings
    | DpoNormSettings
    | IpoSettings
    | SimpoSettings
    | HingeSettings
    | SppoSettings
    | ApoZeroSettings
    | OrpoSettings
)
SETTINGS: list[Loss] = [
    RebelSettings(eta=0.3),
    RebelSettings(eta=10.0),
    RebelSettings(eta=1e6),
    DpoSettings(beta=0.01),
    DpoSettings(beta=2.0),
    SimpoSettings(beta=10.0, gamma=3.0),
    SimpoSettings(beta=2.5, gamma=0.0),
    DpoSettings(beta=0.5, label_smoothing=0.2),
    IpoSettings(tau=0.1),
    IpoSettings(tau=0.02, per_token=False),
    DpoNormSettings(beta=5.0),
    HingeSettings(beta=0.03),
    SppoSettings(beta=1e-3),
    SppoSettings(beta=4.0),
    ApoZeroSettings(beta=0.05),
    OrpoSettings(weight=0.1),
    OrpoSettings(weight=3.0),
]
COLUMNS = (
    "chosen_logprob",
    "rejected_logprob",
    "reference_chosen_logprob",
    "reference_rejected_logprob",
    "chosen_reward",
    "rejected_reward",
    "chosen_win_probability",
    "rejected_win_probability",
    "chosen_tokens",
    "rejected_tokens",
)


def batch_of(*columns: float | np.ndarray, dtype: torch.dtype = torch.float32) -> PairBatch:
    """In the order of `COLUMNS`; scalars become a batch of one."""
    return PairBatch(*(torch.as_tensor(np.atleast_1d(column), dtype=dtype) for column in columns))


def random_columns(seed: int, count: int = 50) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    logprobs = -random.uniform(5, 60, (4, count))
    rewards = random.uniform(-1, 1, (2, count))
    wins = random.uniform(0, 1, (2, count))
    tokens = random.integers(1, 80, (2, count)).astype(float)
    # What float32 holds, so that the formula in float64 gets the very same numbers.
    return list(np.concatenate([logprobs, rewards, wins, tokens]).astype(np.float32).astype(np.float64))


def published(settings: object, columns: list[np.ndarray]) -> np.ndarray:
    """The loss as the papers write it (REBEL and SPPO not divided), numpy float64."""
    chosen, rejected, reference_chosen, reference_rejected, r_w, r_l, p_w, p_l, length_w, length_l = columns
    a, b = chosen - reference_chosen, rejected - reference_rejected
    d = a - b
    match settings:
        case RebelSettings(eta=eta):
            return (d - eta * (r_w - r_l)) ** 2
        case DpoSettings(beta=beta, label_smoothing=e):
            return (1 - e) * np.logaddexp(0, -beta * d) + e * np.logaddexp(0, beta * d)
        case DpoNormSettings(beta=beta):
            return np.logaddexp(0, -beta * (a / length_w - b / length_l))
        case IpoSettings(tau=tau, per_token=True):
            return (a / length_w - b / length_l - 1 / (2 * tau)) ** 2
        case IpoSettings(tau=tau):
            return (d - 1 / (2 * tau)) ** 2
        case HingeSettings(beta=beta):
            return np.maximum(0, 1 - beta * d)
        case SppoSettings(beta=beta):
            return ((a - (p_w - 0.5) / beta) ** 2 + (b - (p_l - 0.5) / beta) ** 2) / 2
        case ApoZeroSettings(beta=beta):
            return 1 - 1 / (1 + np.exp(-beta * a)) + 1 / (1 + np.exp(-beta * b))
        case OrpoSettings(weight=weight):
            mean_w, mean_l = chosen / length_w, rejected / length_l
            log_odds = [mean - np.log(-np.expm1(mean)) for mean in (mean_w, mean_l)]
            return -mean_w + weight * np.logaddexp(0, -(log_odds[0] - log_odds[1]))
        case SimpoSettings(beta=beta, gamma=gamma):
            return np.logaddexp(0, -(beta * (chosen / length_w - rejected / length_l) - gamma))
    raise AssertionError(settings)


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
def test_value_is_the_published_formula(settings: Loss) -> None:
    columns = random_columns(1)
    values = settings.loss(batch_of(*columns))
    assert values.shape == (50,)
    assert values.dtype == torch.float32
    np.testing.assert_allclose(
        values.double().numpy() * settings.reported_scale, published(settings, columns), rtol=2e-5, atol=1e-5
    )


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
def test_gradient_is_that_of_the_formula(settings: Loss) -> None:
    """Central differences of the float64 formula, with respect to both log-probabilities."""
    columns = random_columns(2)
    batch = batch_of(*columns)
    batch.chosen_logprob.requires_grad_()
    batch.rejected_logprob.requires_grad_()
    settings.loss(batch).sum().backward()
    for position, tensor in enumerate((batch.chosen_logprob, batch.rejected_logprob)):
        step = 1e-3
        higher, lower = (
            [column + sign * step * (index == position) for index, column in enumerate(columns)] for sign in (1, -1)
        )
        expected = (published(settings, higher) - published(settings, lower)) / (2 * step) / settings.reported_scale
        assert tensor.grad is not None
        np.testing.assert_allclose(tensor.grad.numpy(), expected, rtol=1e-4, atol=2e-6)


def test_rebel_with_the_published_eta_keeps_its_gradient_in_float32() -> None:
    """eta 1e6: nothing overflows, the gradient is of order one, and it is float64's to 1e-5."""
    columns = random_columns(3, count=500)
    settings = RebelSettings(eta=1e6)
    gradients: dict[torch.dtype, torch.Tensor] = {}
    for dtype in (torch.float32, torch.float64):
        batch = batch_of(*columns, dtype=dtype)
        batch.chosen_logprob.requires_grad_()
        losses = settings.loss(batch)
        assert torch.isfinite(losses).all()
        losses.sum().backward()
        assert batch.chosen_logprob.grad is not None
        gradients[dtype] = batch.chosen_logprob.grad
    exact = gradients[torch.float64]
    assert exact.abs().max() < 10
    torch.testing.assert_close(gradients[torch.float32].double(), exact, rtol=1e-5, atol=1e-5)


def test_published_scaling_of_rebel() -> None:
    assert RebelSettings(eta=1e6).reported_scale == 1e6
    assert RebelSettings(eta=0.5).reported_scale == 1.0
    value = RebelSettings(eta=4.0).loss(batch_of(-1.0, -2.0, -1.0, -2.0, 1.0, 0.5, 0.5, 0.5, 1.0, 1.0))
    assert float(value) * 4.0 == 4.0  # (0 - 4 * 0.5)^2


logprob = st.floats(-500, 0, width=32)
reward = st.floats(-2, 2, width=32)
length = st.integers(1, 3000)
win = st.floats(0, 1, width=32)
rows = st.tuples(logprob, logprob, logprob, logprob, reward, reward, win, win, length, length)


@given(rows, st.floats(1e-3, 10))
def test_dpo_at_the_reference_is_log_two(row: tuple[float, ...], beta: float) -> None:
    chosen, rejected, _, _, *rest = row
    value = DpoSettings(beta=beta).loss(batch_of(chosen, rejected, chosen, rejected, *rest))
    assert float(value) == pytest.approx(math.log(2), rel=1e-6)


def swapped(row: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(row[index ^ 1] for index in range(len(row)))


@given(rows, st.floats(1e-2, 1e6))
def test_rebel_does_not_change_when_the_pair_is_swapped(row: tuple[float, ...], eta: float) -> None:
    loss: Callable[[PairBatch], torch.Tensor] = RebelSettings(eta=eta).loss
    assert float(loss(batch_of(*swapped(row)))) == pytest.approx(float(loss(batch_of(*row))), rel=1e-5, abs=1e-6)


@given(rows, st.floats(1e-3, 2))
def test_dpo_of_a_pair_and_of_its_swap_differ_by_the_margin(row: tuple[float, ...], beta: float) -> None:
    """-log sigmoid(-x) - (-log sigmoid(x)) = x, and the smaller one is that of the pair in its right order."""
    settings = DpoSettings(beta=beta)
    chosen, rejected, reference_chosen, reference_rejected, *_ = row
    margin = beta * ((chosen - reference_chosen) - (rejected - reference_rejected))
    difference = float(settings.loss(batch_of(*swapped(row), dtype=torch.float64))) - float(
        settings.loss(batch_of(*row, dtype=torch.float64))
    )
    assert difference == pytest.approx(margin, rel=1e-9, abs=1e-9)


@given(rows, st.floats(0.1, 20))
def test_simpo_without_margin_of_a_pair_and_of_its_swap(row: tuple[float, ...], beta: float) -> None:
    settings = SimpoSettings(beta=beta, gamma=0.0)
    chosen, rejected, *_, length_w, length_l = row
    difference = float(settings.loss(batch_of(*swapped(row), dtype=torch.float64))) - float(
        settings.loss(batch_of(*row, dtype=torch.float64))
    )
    assert difference == pytest.approx(beta * (chosen / length_w - rejected / length_l), rel=1e-9, abs=1e-9)


@given(rows, st.sampled_from([0.25, 1.0, 16.0, 1024.0]))
def test_rebel_is_zero_where_the_log_ratios_explain_the_rewards(row: tuple[float, ...], eta: float) -> None:
    chosen, rejected, reference_chosen, _, r_w, r_l, *rest = row
    # The last reference is what makes d = eta (r_w - r_l).
    reference_rejected = eta * (r_w - r_l) - (chosen - reference_chosen) + rejected
    columns = (chosen, rejected, reference_chosen, reference_rejected, r_w, r_l, *rest)
    assert float(RebelSettings(eta=eta).loss(batch_of(*columns, dtype=torch.float64))) == pytest.approx(0, abs=1e-18)


@given(rows)
def test_every_loss_is_finite_and_not_negative(row: tuple[float, ...]) -> None:
    for settings in SETTINGS:
        value = float(settings.loss(batch_of(*row)))
        assert math.isfinite(value)
        assert value >= 0


def test_which_losses_need_a_reference() -> None:
    """A loss reads the reference if and only if it says so: without one it is NaN."""
    for settings in SETTINGS:
        without = batch_of(-3.0, -4.0, math.nan, math.nan, 1.0, 0.0, 0.6, 0.4, 3.0, 4.0)
        assert bool(settings.loss(without).isnan()) == settings.needs_reference
    free = {type(settings) for settings in SETTINGS if not settings.needs_reference}
    assert free == {SimpoSettings, OrpoSettings}


def test_which_losses_read_rewards_and_win_probabilities() -> None:
    for settings in SETTINGS:
        rewards = batch_of(-3.0, -4.0, -3.5, -4.5, math.nan, math.nan, 0.6, 0.4, 3.0, 4.0)
        assert bool(settings.loss(rewards).isnan()) == isinstance(settings, RebelSettings)
        wins = batch_of(-3.0, -4.0, -3.5, -4.5, 1.0, 0.0, math.nan, math.nan, 3.0, 4.0)
        assert bool(settings.loss(wins).isnan()) == isinstance(settings, SppoSettings)


@given(rows)
def test_a_more_likely_chosen_and_a_less_likely_rejected_response_never_cost_more(row: tuple[float, ...]) -> None:
    """Of the losses that only rank; those that regress have a target to overshoot."""
    chosen, rejected, *rest = row
    better = (chosen + (0 - chosen) * 0.1, rejected - 1.0, *rest)
    for settings in SETTINGS:
        if isinstance(settings, DpoSettings | SimpoSettings | HingeSettings | ApoZeroSettings | OrpoSettings):
            if isinstance(settings, DpoSettings) and settings.label_smoothing:
                continue
            before, after = (float(settings.loss(batch_of(*r, dtype=torch.float64))) for r in (row, better))
            assert after <= before + 1e-9


@given(st.floats(-60, -(2.0**-20), width=32))
def test_log_of_one_minus_exp(x: float) -> None:
    with localcontext(prec=60):
        exact = float((1 - Decimal(x).exp()).ln())
    assert float(log_one_minus_exp(torch.tensor(x, dtype=torch.float64))) == pytest.approx(exact, rel=1e-12)
    assert float(log_one_minus_exp(torch.tensor(x))) == pytest.approx(exact, rel=1e-5)


def test_a_certain_response_has_finite_odds_and_gradient() -> None:
    batch = batch_of(0.0, -4.0, math.nan, math.nan, 1.0, 0.0, 0.6, 0.4, 3.0, 4.0)
    batch.chosen_logprob.requires_grad_()
    value = OrpoSettings().loss(batch)
    value.sum().backward()
    assert batch.chosen_logprob.grad is not None
    assert math.isfinite(value.item()) and math.isfinite(batch.chosen_logprob.grad.item())
