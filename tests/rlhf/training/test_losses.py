"""Every loss against the formula of its paper, in float64, written independently of the module."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given

from loss_batches import batch_of, random_columns, rows
from rlhf.training.loss import PairLoss
from rlhf.training.losses.apo_zero import ApoZeroSettings
from rlhf.training.losses.dpo import DpoSettings
from rlhf.training.losses.dpo_norm import DpoNormSettings
from rlhf.training.losses.exo import ExoSettings
from rlhf.training.losses.hinge import HingeSettings
from rlhf.training.losses.ipo import IpoSettings
from rlhf.training.losses.nca import NcaSettings
from rlhf.training.losses.orpo import OrpoSettings
from rlhf.training.losses.rebel import RebelSettings
from rlhf.training.losses.robust import RobustSettings
from rlhf.training.losses.sft import SftSettings
from rlhf.training.losses.simpo import SimpoSettings
from rlhf.training.losses.sppo import SppoSettings

SETTINGS: list[PairLoss] = [
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
    RobustSettings(beta=0.1),
    RobustSettings(beta=0.5, label_smoothing=0.4),
    ExoSettings(),
    ExoSettings(beta=0.5, label_smoothing=0.1),
    NcaSettings(beta=0.01),
    NcaSettings(beta=0.5),
    SftSettings(),
]


def published(settings: object, columns: list[np.ndarray]) -> np.ndarray:
    """The loss as in its paper (REBEL and SPPO without the division), numpy float64 (pairs,)."""
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
        case RobustSettings(beta=beta, label_smoothing=e):
            return ((1 - e) * np.logaddexp(0, -beta * d) - e * np.logaddexp(0, beta * d)) / (1 - 2 * e)
        case ExoSettings(beta=beta, label_smoothing=e):
            log_p, log_q = -np.logaddexp(0, -beta * d), -np.logaddexp(0, beta * d)
            return np.exp(log_p) * (log_p - np.log(1 - e)) + np.exp(log_q) * (log_q - np.log(e))
        case NcaSettings(beta=beta):
            of_noise = (np.logaddexp(0, beta * a) + np.logaddexp(0, beta * b)) / 2
            return np.logaddexp(0, -beta * a) + of_noise
        case SftSettings():
            return -chosen / length_w
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
def test_value_is_the_published_formula(settings: PairLoss) -> None:
    columns = random_columns(1)
    values = settings.loss(batch_of(*columns))
    assert values.shape == (50,)
    assert values.dtype == torch.float32
    np.testing.assert_allclose(
        values.double().numpy() * settings.reported_scale, published(settings, columns), rtol=2e-5, atol=1e-5
    )


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
def test_gradient_is_the_formulas(settings: PairLoss) -> None:
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
        found = np.zeros(50) if tensor.grad is None else tensor.grad.numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6)


@given(rows)
def test_every_loss_is_finite_and_only_that_of_robust_dpo_is_ever_negative(row: tuple[float, ...]) -> None:
    """EXO's is a divergence: zero up to rounding at its minimum."""
    for settings in SETTINGS:
        value = float(settings.loss(batch_of(*row)))
        assert math.isfinite(value)
        assert value >= -1e-6 or isinstance(settings, RobustSettings)


def test_which_losses_need_a_reference() -> None:
    """A loss reads the reference if and only if it says so: without a reference it is NaN."""
    for settings in SETTINGS:
        without = batch_of(-3.0, -4.0, math.nan, math.nan, 1.0, 0.0, 0.6, 0.4, 3.0, 4.0)
        assert bool(settings.loss(without).isnan()) == settings.needs_reference
    free = {type(settings) for settings in SETTINGS if not settings.needs_reference}
    assert {SimpoSettings, OrpoSettings, SftSettings} <= free


def test_which_losses_read_the_rejected_response() -> None:
    """Without it, a loss of the chosen response is what it was."""
    for settings in SETTINGS:
        without = batch_of(-3.0, 0.0, -3.5, math.nan, 1.0, math.nan, 0.6, math.nan, 3.0, 0.0)
        assert bool(settings.loss(without).isnan()) == settings.needs_rejected
    assert {type(settings) for settings in SETTINGS if not settings.needs_rejected} == {SftSettings}


def test_which_losses_read_rewards_and_win_probabilities() -> None:
    for settings in SETTINGS:
        rewards = batch_of(-3.0, -4.0, -3.5, -4.5, math.nan, math.nan, 0.6, 0.4, 3.0, 4.0)
        assert bool(settings.loss(rewards).isnan()) == isinstance(settings, RebelSettings)
        wins = batch_of(-3.0, -4.0, -3.5, -4.5, 1.0, 0.0, math.nan, math.nan, 3.0, 4.0)
        assert bool(settings.loss(wins).isnan()) == isinstance(settings, SppoSettings)


@given(rows)
def test_a_more_likely_chosen_and_a_less_likely_rejected_response_never_cost_more(row: tuple[float, ...]) -> None:
    """For losses that only rank; those that regress can overshoot their target."""
    chosen, rejected, *rest = row
    better = (chosen + (0 - chosen) * 0.1, rejected - 1.0, *rest)
    for settings in SETTINGS:
        if isinstance(settings, DpoSettings | SimpoSettings | HingeSettings | ApoZeroSettings | OrpoSettings):
            if isinstance(settings, DpoSettings) and settings.label_smoothing:
                continue
            before, after = (float(settings.loss(batch_of(*r, dtype=torch.float64))) for r in (row, better))
            assert after <= before + 1e-9
