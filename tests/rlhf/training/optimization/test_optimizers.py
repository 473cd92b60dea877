"""AdamW with 32-bit and with 8-bit moments."""

import pytest
import torch

from rlhf.base.errors import UserError
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.training.optimization.optimizers import make_optimizer
from rlhf.training.settings import RecipeSettings, check_optimizer
from small_models import small_llama


def test_the_moments_decay_as_the_recipe_says() -> None:
    """A single step does not depend on them."""
    recipe = RecipeSettings(adam_beta1=0.7, adam_beta2=0.8)
    assert make_optimizer(ResponseLogprobs(small_llama(), 1.0), recipe).defaults["betas"] == (0.7, 0.8)


def test_eight_bit_steps_agree_with_thirty_two_bit_steps() -> None:
    """A matrix large enough to get 8-bit moments moves the same way, within their rounding."""
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


def test_the_optimizer_does_not_get_frozen_weights() -> None:
    layer = torch.nn.Linear(4, 4)
    layer.bias.requires_grad_(False)
    (group,) = make_optimizer(layer, RecipeSettings()).param_groups
    assert [id(parameter) for parameter in group["params"]] == [id(layer.weight)]


@pytest.mark.parametrize("strategy", ["zero3", "fsdp2"])
def test_eight_bit_moments_are_not_sharded(strategy: str) -> None:
    with pytest.raises(UserError, match=f"adamw_8bit.*{strategy}"):
        check_optimizer(RecipeSettings(optimizer="adamw_8bit"), strategy)
    check_optimizer(RecipeSettings(), strategy)
    check_optimizer(RecipeSettings(optimizer="adamw_8bit"), "ddp")
