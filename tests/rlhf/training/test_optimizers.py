"""The learning rate's shape and values, and the optimizers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf.base.errors import UserError
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.training.optimizers import make_optimizer, scheduled_learning_rate
from rlhf.training.settings import RecipeSettings, check_optimizer
from small_models import small_llama

recipes = st.builds(RecipeSettings, warmup=st.floats(0, 1), learning_rate=st.floats(1e-7, 1e-2))


@given(recipes, st.integers(1, 300))
def test_the_learning_rate_rises_then_falls_and_is_never_zero(recipe: RecipeSettings, total: int) -> None:
    rates = [scheduled_learning_rate(recipe, step, total) for step in range(1, total + 1)]
    warmup = math.ceil(recipe.warmup * total)
    assert len(rates) == total
    assert all(0 < rate <= recipe.learning_rate for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert max(rates) == recipe.learning_rate


def test_the_published_schedule() -> None:
    """468 steps, 10 % warm-up, cosine to zero: values by hand."""
    recipe = RecipeSettings()
    peak = recipe.learning_rate
    rates = [scheduled_learning_rate(recipe, step, 468) for step in range(1, 469)]
    assert rates[0] == pytest.approx(peak / 47)
    assert rates[46] == peak
    middle = 47 + (468 - 47) // 2
    assert rates[middle] == pytest.approx(peak / 2, rel=0.01)
    assert rates[-1] == pytest.approx(peak * 0.5 * (1 - math.cos(math.pi / 421)))
    assert rates[-1] < 2e-5 * peak
    assert sum(rates) == pytest.approx(peak * (48 / 2 + 422 / 2), rel=1e-6)


@pytest.mark.parametrize("warmup", [0.0, 0.1, 1.0])
def test_a_single_step_has_the_peak_learning_rate(warmup: float) -> None:
    assert scheduled_learning_rate(RecipeSettings(warmup=warmup, learning_rate=1e-3), 1, 1) == 1e-3


def test_the_moments_decay_as_the_recipe_says() -> None:
    """What a single step does not show."""
    recipe = RecipeSettings(adam_beta1=0.7, adam_beta2=0.8)
    assert make_optimizer(ResponseLogprobs(small_llama(), 1.0), recipe).defaults["betas"] == (0.7, 0.8)


def test_eight_bits_step_as_thirty_two_do() -> None:
    """On a matrix that is large enough to be kept in 8 bits: the same way within their rounding."""
    moved = {}
    for name in ("adamw", "adamw_8bit"):
        torch.manual_seed(0)
        layer = torch.nn.Linear(128, 128)
        before = layer.weight.detach().clone()
        optimizer = make_optimizer(layer, RecipeSettings(optimizer=name, learning_rate=1e-2))
        inputs = torch.randn(64, 128)
        for _ in range(10):
            (layer(inputs) - inputs).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        moved[name] = layer.weight.detach() - before
        states = [state for state in optimizer.state[layer.weight].values() if isinstance(state, torch.Tensor)]
        kept = {state.dtype for state in states if state.numel() == 128 * 128}
        assert kept == {torch.uint8 if name == "adamw_8bit" else torch.float32}
    difference = (moved["adamw"] - moved["adamw_8bit"]).norm() / moved["adamw"].norm()
    assert 0 < float(difference) < 0.1


def test_frozen_weights_are_not_the_optimizers() -> None:
    layer = torch.nn.Linear(4, 4)
    layer.bias.requires_grad_(False)
    (group,) = make_optimizer(layer, RecipeSettings()).param_groups
    assert [id(parameter) for parameter in group["params"]] == [id(layer.weight)]


@pytest.mark.parametrize("strategy", ["zero3", "fsdp2"])
def test_eight_bits_are_not_shared_out(strategy: str) -> None:
    with pytest.raises(UserError, match=f"adamw_8bit.*{strategy}"):
        check_optimizer(RecipeSettings(optimizer="adamw_8bit"), strategy)
    check_optimizer(RecipeSettings(), strategy)
    check_optimizer(RecipeSettings(optimizer="adamw_8bit"), "ddp")
