"""Log-probabilities against the definition in float64, one sequence at a time."""

from collections.abc import Sequence

import pytest
import torch
from torch.nn import functional
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaForCausalLM

import rlhf.logprobs.head
from rlhf.base.errors import UserError
from rlhf.logprobs.responses import ResponseLogprobs, autocast, checkpoint_activations
from rlhf.tokens.packing import Pack, PromptGroup
from small_models import CPU, VOCABULARY, direct_logprob, random_pairs, small_llama

TEMPERATURE = 0.8
PAIRS = random_pairs(12, seed=1)
PROMPTS = [pair.prompt_token_ids for pair in PAIRS]
RESPONSES = [pair.chosen_token_ids for pair in PAIRS]


def logprobs(policy: LlamaForCausalLM, rows: Sequence[int], temperature: float = TEMPERATURE) -> torch.Tensor:
    return ResponseLogprobs(policy, temperature)(pack_of([(PROMPTS[row], RESPONSES[row]) for row in rows]))


def pack_of(sequences: Sequence[tuple[list[int], list[int]]]) -> Pack:
    return Pack([PromptGroup(prompt, [response]) for prompt, response in sequences], CPU)


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
    together = logprobs(small_llama(), range(12))
    for row in range(12):
        torch.testing.assert_close(logprobs(small_llama(), [row])[0], together[row], rtol=0, atol=2e-5)
    torch.testing.assert_close(logprobs(small_llama(), range(11, -1, -1)).flip(0), together, rtol=0, atol=2e-5)


def test_a_prompt_shared_by_its_responses_gives_the_same_values() -> None:
    model = ResponseLogprobs(small_llama(), TEMPERATURE)
    shared = model(Pack([PromptGroup(PROMPTS[0], RESPONSES[:4]), PromptGroup(PROMPTS[1], RESPONSES[4:6])], CPU))
    alone = model(pack_of([(PROMPTS[index // 4], response) for index, response in enumerate(RESPONSES[:6])]))
    torch.testing.assert_close(shared, alone, rtol=0, atol=2e-5)


def test_an_empty_response_is_zero_and_changes_no_other() -> None:
    model = ResponseLogprobs(small_llama(), TEMPERATURE)
    groups = [PromptGroup(prompt, [response, []]) for prompt, response in zip(PROMPTS, RESPONSES, strict=True)]
    found = model(Pack(groups, CPU)).view(-1, 2)
    assert torch.equal(found[:, 1], torch.zeros(12))
    assert torch.equal(found[:, 0], model(pack_of(list(zip(PROMPTS, RESPONSES, strict=True)))))


def test_a_change_of_one_sequence_changes_no_other() -> None:
    model = ResponseLogprobs(small_llama(), TEMPERATURE)
    sequences = list(zip(PROMPTS, RESPONSES, strict=True))
    before = model(pack_of(sequences))
    prompt, response = sequences[4]
    sequences[4] = ([(prompt[0] + 1) % 64, *prompt[1:]], response)
    changed = model(pack_of(sequences)) != before
    assert changed.nonzero().flatten().tolist() == [4]


def test_the_prompts_own_tokens_do_not_count() -> None:
    """The value of a response is the sum over its tokens: split in two parts, the parts add up."""
    policy = small_llama()
    row = max(range(12), key=lambda index: len(RESPONSES[index]))
    prompt, response = PROMPTS[row], RESPONSES[row]
    assert len(response) > 4
    model = ResponseLogprobs(policy, TEMPERATURE)
    whole, first, rest = (
        model(pack_of([both]))
        for both in ((prompt, response), (prompt, response[:3]), (prompt + response[:3], response[3:]))
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
    monkeypatch.setattr(rlhf.logprobs.head, "TILE_TOKENS", head_chunk)
    policy = small_llama()
    values = logprobs(policy, range(12))
    (values * torch.linspace(-1, 1, 12)).sum().backward()
    torch.testing.assert_close(values.detach().double(), direct(), rtol=0, atol=1e-4)
    assert relative_difference(gradients(policy), exact_gradient) < 1e-4


def test_under_autocast_the_logits_are_bfloat16_and_what_follows_is_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The values differ from the definition by the products' rounding alone: those logits, log-softmax in float64."""
    policy = small_llama()
    seen: list[torch.Tensor] = []
    linear = functional.linear

    def recorded(*arguments: torch.Tensor) -> torch.Tensor:
        seen.append(linear(*arguments))
        return seen[-1]

    with autocast("bfloat16", CPU), torch.no_grad(), monkeypatch.context() as patch:
        patch.setattr(rlhf.logprobs.head.functional, "linear", recorded)
        values = logprobs(policy, range(12))
    seen = [output for output in seen if output.shape[-1] == VOCABULARY]
    assert [logits.dtype for logits in seen] == [torch.bfloat16]
    assert values.dtype == torch.float32
    targets = torch.tensor([token for response in RESPONSES for token in response])
    tokens = torch.log_softmax(seen[0].double(), dim=-1)[torch.arange(len(targets)), targets]
    expected = torch.stack([part.sum() for part in tokens.split([len(response) for response in RESPONSES])])
    torch.testing.assert_close(values.double(), expected, rtol=0, atol=1e-4)


def test_autocast_changes_nothing_in_float32() -> None:
    with autocast("float32", CPU):
        within = logprobs(small_llama(), range(12))
    assert torch.equal(within, logprobs(small_llama(), range(12)))


def test_recomputed_activations_give_the_same_gradient() -> None:
    found, passes = [], []
    for again in (False, True):
        policy = small_llama()
        if again:
            checkpoint_activations(policy)
        calls: list[int] = []
        policy.model.layers[0].mlp.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        values = logprobs(policy, range(12))
        values.sum().backward()
        found.append(gradients(policy))
        passes.append(len(calls))
    assert passes == [1, 2]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_an_output_head_that_is_not_a_linear_layer_is_refused() -> None:
    policy = small_llama()
    policy.set_output_embeddings(torch.nn.Sequential(policy.get_output_embeddings()))
    with pytest.raises(UserError, match="its output head is a Sequential"):
        ResponseLogprobs(policy, 1.0)


def test_the_weights_keep_their_names() -> None:
    names = small_llama().state_dict().keys()
    assert ResponseLogprobs(small_llama(), 1.0).policy.state_dict().keys() == names


def test_a_model_that_caps_its_logits_is_refused() -> None:
    config = Gemma2Config(
        vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, head_dim=8
    )
    with pytest.raises(UserError, match="final_logit_softcapping"):
        ResponseLogprobs(Gemma2ForCausalLM(config), 1.0)
