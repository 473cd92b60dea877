"""What is minimised beside a loss: the likelihood of the chosen response, and the weights of WPO."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from loss_batches import batch_of, random_columns, rows
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.pairs.schema import Pair
from rlhf.tokens.packing import Pack
from rlhf.tokens.prompt_group import TokenIds
from rlhf.training.data import pair_batch
from rlhf.training.loss import PairLoss
from rlhf.training.losses.dpo import DpoSettings
from rlhf.training.losses.dpo_norm import DpoNormSettings
from rlhf.training.losses.ipo import IpoSettings
from rlhf.training.losses.rebel import RebelSettings
from rlhf.training.losses.sft import SftSettings
from small_models import CPU, random_pairs, small_llama

EVERY = [choice() for choice in PairLoss.choices().values()]
"""Every loss, with its defaults."""
OF_TWO = [settings for settings in EVERY if settings.needs_rejected]


@pytest.mark.parametrize("settings", OF_TWO, ids=repr)
def test_the_likelihood_of_the_chosen_response_is_added_to_the_loss_as_it_is_optimised(settings: PairLoss) -> None:
    """Value and gradient, with a mean over the tokens of each response; the rest of the gradient stays."""
    columns = random_columns(4)
    gradients, values = [], []
    for loss in (settings, settings.model_copy(update={"sft_weight": 0.3})):
        batch = batch_of(*columns, dtype=torch.float64)
        batch.chosen_logprob.requires_grad_()
        batch.rejected_logprob.requires_grad_()
        values.append(loss.objective(batch))
        gradients.append(torch.autograd.grad(values[-1].sum(), [batch.chosen_logprob, batch.rejected_logprob]))
    chosen, tokens = columns[0], columns[8]
    np.testing.assert_allclose((values[1] - values[0]).detach().numpy(), -0.3 * chosen / tokens, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose((gradients[1][0] - gradients[0][0]).numpy(), -0.3 / tokens, rtol=1e-9, atol=1e-12)
    assert torch.equal(gradients[1][1], gradients[0][1])


@given(rows)
def test_without_the_settings_the_objective_is_the_loss_and_every_weight_one(row: tuple[float, ...]) -> None:
    for settings in EVERY:
        batch = batch_of(*row)
        assert torch.equal(settings.objective(batch), settings.loss(batch))
        assert torch.equal(settings.pair_weight(batch), torch.ones(1))


def weight_by_hand(pair: Pair, temperature: float) -> float:
    """The weight of WPO, from all logits of each response, in float64."""
    policy = small_llama().double()

    def of(response: TokenIds) -> float:
        ids = torch.tensor([[*pair.prompt_token_ids, *response]])
        logits = policy(ids).logits[0, len(pair.prompt_token_ids) - 1 : -1] / temperature
        logprobs = torch.log_softmax(logits, dim=-1)
        own = logprobs.gather(1, torch.tensor(response)[:, None])[:, 0]
        aligned = own - logprobs.exp().square().sum(1).log()
        return float(aligned.mean().exp())

    with torch.no_grad():
        return of(pair.chosen_token_ids) * of(pair.rejected_token_ids)


def test_weights_are_those_of_the_whole_distributions() -> None:
    pairs = random_pairs(9, seed=6)
    loss = DpoSettings(beta=0.3, wpo=True)
    model = ResponseLogprobs(small_llama(), 0.8)
    logprobs = model(Pack([pair.prompt_group for pair in pairs], CPU), True)
    batch = pair_batch(pairs, *logprobs.unflatten(0, (-1, 2)).unbind(1))
    found = loss.pair_weight(batch)
    assert not found.requires_grad
    expected = [weight_by_hand(pair, 0.8) for pair in pairs]
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-5)
    assert max(expected) > 3 * min(expected)
    plain = pair_batch(pairs, *model(Pack([pair.prompt_group for pair in pairs], CPU)).view(-1, 2).unbind(1))
    assert torch.equal(plain.chosen_logprob, batch.chosen_logprob)
    assert torch.equal(plain.rejected_logprob, batch.rejected_logprob)


@given(st.integers(1, 500), st.integers(1, 500), st.floats(1e-3, 1.0))
def test_a_response_of_which_every_token_is_as_likely_as_expected_has_weight_one(
    chosen: int, rejected: int, probability: float
) -> None:
    """For example what a policy samples that is uniform over some tokens, however many they are."""
    lengths = [float(chosen), float(rejected)]
    logprobs = [length * math.log(probability) for length in lengths]
    batch = replace(
        batch_of(*logprobs, *logprobs, 1.0, 0.0, 0.6, 0.4, *lengths, dtype=torch.float64),
        chosen_expected=torch.tensor([logprobs[0]], dtype=torch.float64),
        rejected_expected=torch.tensor([logprobs[1]], dtype=torch.float64),
    )
    assert float(DpoSettings(wpo=True).pair_weight(batch)) == pytest.approx(1.0)


@pytest.mark.parametrize("key", [{"sft_weight": 0.1}, {"wpo": True}])
def test_a_loss_of_the_chosen_response_alone_has_neither(key: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="for losses of two responses; sft reads the chosen one alone"):
        SftSettings.model_validate({"name": "sft", **key})


def test_settings_that_are_not_used_are_not_in_the_json() -> None:
    assert RebelSettings(eta=2.0).model_dump(mode="json") == {"name": "rebel", "eta": 2.0}
    given = {"name": "rebel", "eta": 2.0, "sft_weight": 0.1, "wpo": True}
    assert RebelSettings.model_validate(given).model_dump(mode="json") == given


def test_every_loss_says_what_its_margin_is() -> None:
    """Where two losses say the same, they have the same margin of a batch, and where not, another."""
    batch = batch_of(*random_columns(7))
    margins = {settings.margin_meaning: settings.margin(batch) for settings in OF_TWO}
    assert len({str(margin.tolist()) for margin in margins.values()}) == len(margins) - 1  # IPO's is one of two others
    for settings in OF_TWO:
        assert torch.equal(margins[settings.margin_meaning], settings.margin(batch))
    assert torch.equal(IpoSettings(per_token=False).margin(batch), DpoSettings().margin(batch))
    assert torch.equal(IpoSettings().margin(batch), DpoNormSettings().margin(batch))
