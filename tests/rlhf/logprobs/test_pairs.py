"""Log-probabilities of pairs: in their order, whatever the batches."""

import pytest
import torch

from rlhf.logprobs.pairs import pair_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.machine.progress import Progress
from small_models import direct_logprob, random_pairs, small_llama

PAIRS = random_pairs(20, seed=2)


@pytest.mark.parametrize("token_budget", [1, 60, 10**6])
def test_both_sides_in_the_order_of_the_pairs(token_budget: int) -> None:
    policy, exact = small_llama(), small_llama().double()
    with Progress(20, "pairs", "test") as progress:
        found = pair_logprobs(ResponseLogprobs(policy, 0.8), PAIRS, "float32", token_budget, progress)
        assert progress.done == 20
    for side, values in enumerate(found):
        with torch.no_grad():
            expected = [
                float(direct_logprob(exact, pair.prompt_token_ids, pair.prompt_group.responses[side], 0.8))
                for pair in PAIRS
            ]
        assert values == pytest.approx(expected, abs=1e-4)


def test_precision_is_that_of_the_computation() -> None:
    """bfloat16 differs from float32 by rounding: it is used, and by less than 2 % of a nat per token and layer sum."""
    model = ResponseLogprobs(small_llama(initializer_range=0.08), 0.8)
    exact, rounded = (torch.tensor(pair_logprobs(model, PAIRS, p, 10**6)) for p in ("float32", "bfloat16"))
    difference = (exact - rounded).abs()
    assert 1e-5 < difference.max() < 0.1


def test_no_pairs() -> None:
    assert pair_logprobs(ResponseLogprobs(small_llama(), 0.8), [], "float32", 100) == ([], [])


def test_no_gradients_are_left_behind() -> None:
    policy = small_llama()
    pair_logprobs(ResponseLogprobs(policy, 0.8), PAIRS, "float32", 10**6)
    assert all(parameter.grad is None for parameter in policy.parameters())
