"""Properties of single losses: symmetries, known values, and accuracy at extreme values."""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loss_batches import batch_of, random_columns, rows, swapped
from rlhf.training.loss import PairBatch
from rlhf.training.losses.dpo import DpoSettings
from rlhf.training.losses.orpo import OrpoSettings, log_one_minus_exp
from rlhf.training.losses.rebel import RebelSettings
from rlhf.training.losses.simpo import SimpoSettings


def test_rebel_with_the_published_eta_keeps_its_gradient_in_float32() -> None:
    """eta 1e6: nothing overflows, the gradient is of order one, and equals float64's to 1e-5."""
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


@given(rows, st.floats(1e-3, 10))
def test_dpo_at_the_reference_is_log_two(row: tuple[float, ...], beta: float) -> None:
    chosen, rejected, _, _, *rest = row
    value = DpoSettings(beta=beta).loss(batch_of(chosen, rejected, chosen, rejected, *rest))
    assert float(value) == pytest.approx(math.log(2), rel=1e-6)


@given(rows, st.floats(1e-2, 1e6))
def test_rebel_does_not_change_when_the_pair_is_swapped(row: tuple[float, ...], eta: float) -> None:
    loss: Callable[[PairBatch], torch.Tensor] = RebelSettings(eta=eta).loss
    assert float(loss(batch_of(*swapped(row)))) == pytest.approx(float(loss(batch_of(*row))), rel=1e-5, abs=1e-6)


@given(rows, st.floats(1e-3, 2))
def test_dpo_of_a_pair_and_of_the_swapped_pair_differ_by_the_margin(row: tuple[float, ...], beta: float) -> None:
    """-log sigmoid(-x) - (-log sigmoid(x)) = x."""
    settings = DpoSettings(beta=beta)
    chosen, rejected, reference_chosen, reference_rejected, *_ = row
    margin = beta * ((chosen - reference_chosen) - (rejected - reference_rejected))
    difference = float(settings.loss(batch_of(*swapped(row), dtype=torch.float64))) - float(
        settings.loss(batch_of(*row, dtype=torch.float64))
    )
    assert difference == pytest.approx(margin, rel=1e-9, abs=1e-9)


@given(rows, st.floats(0.1, 20))
def test_simpo_of_a_pair_and_of_the_swapped_pair_differ_by_the_margin(row: tuple[float, ...], beta: float) -> None:
    settings = SimpoSettings(beta=beta, gamma=0.0)
    chosen, rejected, *_, length_w, length_l = row
    difference = float(settings.loss(batch_of(*swapped(row), dtype=torch.float64))) - float(
        settings.loss(batch_of(*row, dtype=torch.float64))
    )
    assert difference == pytest.approx(beta * (chosen / length_w - rejected / length_l), rel=1e-9, abs=1e-9)


@given(rows, st.sampled_from([0.25, 1.0, 16.0, 1024.0]))
def test_rebel_is_zero_where_the_log_ratios_explain_the_rewards(row: tuple[float, ...], eta: float) -> None:
    chosen, rejected, reference_chosen, _, r_w, r_l, *rest = row
    # This reference makes d = eta (r_w - r_l).
    reference_rejected = eta * (r_w - r_l) - (chosen - reference_chosen) + rejected
    columns = (chosen, rejected, reference_chosen, reference_rejected, r_w, r_l, *rest)
    assert float(RebelSettings(eta=eta).loss(batch_of(*columns, dtype=torch.float64))) == pytest.approx(0, abs=1e-18)


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
