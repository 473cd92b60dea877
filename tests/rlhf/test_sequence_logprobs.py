"""Log-probabilities against the definition in float64, one sequence at a time."""

from collections.abc import Sequence

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaForCausalLM

import rlhf.sequence_logprobs
from rlhf.errors import UserError
from rlhf.sequence_logprobs import ResponseLogprobs, autocast, pad_pairs
from small_models import CPU, direct_logprob, random_pairs, small_llama

TEMPERATURE = 0.8
PAIRS = random_pairs(12, seed=1)
PROMPTS = [pair["prompt_token_ids"] for pair in PAIRS]
RESPONSES = [pair["chosen_token_ids"] for pair in PAIRS]


def logprobs(policy: LlamaForCausalLM, rows: Sequence[int], temperature: float = TEMPERATURE) -> torch.Tensor:
    ids, mask = pad_pairs([PROMPTS[row] for row in rows], [RESPONSES[row] for row in rows], CPU)
    return ResponseLogprobs(policy, temperature)(ids, mask)


def direct(temperature: float = TEMPERATURE) -> torch.Tensor:
    policy = small_llama().double()
    with torch.no_grad():
        return torch.stack(
            [direct_logprob(policy, *both, temperature) for both in zip(PROMPTS, RESPONSES, strict=True)]
        )


@pytest.mark.parametrize("temperature", [0.5, 0.8, 1.0, 2.0])
def test_values_are_those_of_the_definition(temperature: float) -> None:
    values = logprobs(small_llama(), range(12), temperature)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.double(), direct(temperature), rtol=0, atol=1e-4)


def test_a_value_does_not_depend_on_the_batch() -> None:
    policy = small_llama()
    together = logprobs(policy, range(12))
    for row in range(12):
        torch.testing.assert_close(logprobs(policy, [row])[0], together[row], rtol=0, atol=2e-5)
    torch.testing.assert_close(logprobs(policy, range(11, -1, -1)).flip(0), together, rtol=0, atol=2e-5)


def test_what_is_behind_a_sequence_does_not_reach_it() -> None:
    policy = small_llama()
    ids, mask = pad_pairs(PROMPTS, RESPONSES, CPU)
    other = ids.clone()
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        other[row, len(prompt) + len(response) :] = 17
    assert not torch.equal(ids, other)
    model = ResponseLogprobs(policy, TEMPERATURE)
    assert torch.equal(model(ids, mask), model(other, mask))


def test_a_change_of_one_sequence_changes_no_other() -> None:
    policy = small_llama()
    ids, mask = pad_pairs(PROMPTS, RESPONSES, CPU)
    model = ResponseLogprobs(policy, TEMPERATURE)
    before = model(ids, mask)
    ids[4, 0] = (ids[4, 0] + 1) % 64
    changed = model(ids, mask) != before
    assert changed.nonzero().flatten().tolist() == [4]


def test_the_prompts_own_tokens_do_not_count() -> None:
    """The value of a response is the sum over its tokens: split in two parts, the parts add up."""
    policy = small_llama()
    row = max(range(12), key=lambda index: len(RESPONSES[index]))
    prompt, response = PROMPTS[row], RESPONSES[row]
    assert len(response) > 4
    model = ResponseLogprobs(policy, TEMPERATURE)
    whole, first, rest = (
        model(*pad_pairs([p], [r], CPU))
        for p, r in ((prompt, response), (prompt, response[:3]), (prompt + response[:3], response[3:]))
    )
    torch.testing.assert_close(whole, first + rest, rtol=0, atol=1e-5)


def gradients(policy: LlamaForCausalLM) -> torch.Tensor:
    return torch.cat([p.grad.flatten().double() for p in policy.parameters() if p.grad is not None])


def relative_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.fixture(scope="module")
def exact_gradient() -> torch.Tensor:
    """Of a weighted sum of the log-probabilities, by the definition in float64."""
    policy = small_llama().double()
    values = [direct_logprob(policy, *both, TEMPERATURE) for both in zip(PROMPTS, RESPONSES, strict=True)]
    (torch.stack(values) * torch.linspace(-1, 1, 12).double()).sum().backward()
    return gradients(policy)


@pytest.mark.parametrize("head_chunk", [1, 7, 1024])
def test_gradient_and_value_in_any_number_of_head_chunks(
    head_chunk: int, exact_gradient: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 7 < sum(map(len, RESPONSES)) < 1024
    monkeypatch.setattr(rlhf.sequence_logprobs, "HEAD_CHUNK", head_chunk)
    policy = small_llama()
    values = logprobs(policy, range(12))
    (values * torch.linspace(-1, 1, 12)).sum().backward()
    torch.testing.assert_close(values.detach().double(), direct(), rtol=0, atol=1e-4)
    assert relative_difference(gradients(policy), exact_gradient) < 1e-4


def test_under_autocast_the_logits_are_bfloat16_and_what_follows_is_float32() -> None:
    """The values differ from the definition by the products' rounding alone: those logits, log-softmax in float64."""
    policy = small_llama()
    seen: list[torch.Tensor] = []
    policy.get_output_embeddings().register_forward_hook(lambda module, inputs, output: seen.append(output))
    with autocast("bfloat16", CPU), torch.no_grad():
        values = logprobs(policy, range(12))
    assert [logits.dtype for logits in seen] == [torch.bfloat16]
    assert values.dtype == torch.float32
    targets = torch.tensor([token for response in RESPONSES for token in response])
    tokens = torch.log_softmax(seen[0].double() / TEMPERATURE, dim=-1)[torch.arange(len(targets)), targets]
    expected = torch.stack([part.sum() for part in tokens.split([len(response) for response in RESPONSES])])
    torch.testing.assert_close(values.double(), expected, rtol=0, atol=1e-4)


def test_autocast_changes_nothing_in_float32() -> None:
    policy = small_llama()
    with autocast("float32", CPU):
        within = logprobs(policy, range(12))
    assert torch.equal(within, logprobs(policy, range(12)))


def test_pad_pairs() -> None:
    ids, mask = pad_pairs([[1, 2], [3]], [[4], [5, 6, 7]], CPU)
    assert ids.tolist() == [[1, 2, 4, 0], [3, 5, 6, 7]]
    assert mask.tolist() == [[False, False, True, False], [False, True, True, True]]


def test_a_model_that_caps_its_logits_is_refused() -> None:
    config = Gemma2Config(
        vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, head_dim=8
    )
    with pytest.raises(UserError, match="final_logit_softcapping"):
        ResponseLogprobs(Gemma2ForCausalLM(config), 1.0)
