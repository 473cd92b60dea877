"""Several pairs per prompt: the gradient of separate pairs, of which each response is computed once."""

from typing import Any

import pytest
import torch
from accelerate import Accelerator

from limited_memory import LimitedMemory
from rlhf.base.errors import UserError
from rlhf.logprobs.groups import group_logprobs
from rlhf.logprobs.pairs import pair_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.pairs.paired_prompts import PairedPrompt, SeveralPairs
from rlhf.pairs.schema import Pair
from rlhf.tokens.packing import Pack, pieces_of
from rlhf.training.data import micro_batches, pairs_of
from rlhf.training.loop import train
from rlhf.training.optimization.step import backward_batch, count_response_tokens, count_tokens, mean_metrics
from rlhf.training.settings import TrainSpec
from rlhf.training.validation import Validation, validate
from several_pairs import referenced, several_prompts
from small_models import loss_by_hand, small_llama, step_by_hand, train_spec, weights

TEMPERATURE = 0.8
REBEL = {"name": "rebel", "eta": 10.0}
DPO = {"name": "dpo", "beta": 0.5}
SIMPO = {"name": "simpo", "beta": 2.5, "gamma": 1.0}
WPO = {**DPO, "wpo": True, "sft_weight": 0.5}
LOSSES = [REBEL, DPO, SIMPO, {"name": "sppo"}, {"name": "ipo"}, WPO]
ALL_AT_ONCE = 10**6


@pytest.fixture(scope="module")
def prompts() -> list[PairedPrompt]:
    """Twelve prompts with five responses: of four pairs each, but every third of three."""
    found = referenced(small_llama(), several_prompts(12), TEMPERATURE)
    assert [len(prompt.pairs) for prompt in found] == [4, 4, 3] * 4
    return found


def gradient_of(
    batch: list[PairedPrompt], spec: TrainSpec, token_budget: int = ALL_AT_ONCE, seed: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient of a batch and what `backward_batch` returns, of a policy that is not the reference."""
    policy = small_llama(seed=seed)
    sums = backward_batch(ResponseLogprobs(policy, TEMPERATURE), batch, spec, Accelerator(cpu=True), token_budget)
    found = [parameter.grad.flatten() for parameter in policy.parameters() if parameter.grad is not None]
    return torch.cat(found).double(), sums


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert float(expected.norm()) > 1e-3
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss["name"])
@pytest.mark.parametrize("token_budget", [1, 90, ALL_AT_ONCE])
def test_four_pairs_of_a_prompt_have_the_gradient_of_four_separate_pairs(
    loss: dict[str, Any], token_budget: int, prompts: list[PairedPrompt]
) -> None:
    """In one micro-batch, in several, and with a prompt in each: within 1e-5 of its norm."""
    whole: list[PairedPrompt] = [prompt for prompt in prompts if len(prompt.pairs) == 4]
    separate: list[PairedPrompt] = [*pairs_of(whole)]
    spec = train_spec(loss)
    expected, expected_sums = gradient_of(separate, spec)
    gradient, sums = gradient_of(whole, spec, token_budget)
    assert difference(gradient, expected) < 1e-5
    torch.testing.assert_close(sums / len(whole), expected_sums / len(separate), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", [REBEL, DPO, SIMPO], ids=lambda loss: loss["name"])
def test_a_step_weighs_prompts_equally_in_float64_by_hand(loss: dict[str, Any], prompts: list[PairedPrompt]) -> None:
    """The mean over prompts of the mean over their pairs, each pair computed by itself."""
    batch, spec = prompts[:6], train_spec(loss)
    by_prompt = [hand_gradient(list(prompt.pairs), spec) for prompt in batch]
    gradient, sums = gradient_of(batch, spec)
    assert difference(gradient, torch.stack([found for found, _ in by_prompt]).mean(0)) < 1e-4
    reported = mean_metrics(sums, len(batch), spec)["loss"]
    assert reported == pytest.approx(sum(value for _, value in by_prompt) / 6, rel=1e-4)
    by_pair, value = hand_gradient(pairs_of(batch), spec)
    equal = train_spec(loss, equal_weight="pairs")
    gradient, sums = gradient_of(batch, equal, token_budget=80)
    assert difference(gradient, by_pair) < 1e-4
    assert mean_metrics(sums, len(pairs_of(batch)), equal)["loss"] == pytest.approx(value, rel=1e-4)


def hand_gradient(pairs: list[Pair], spec: TrainSpec) -> tuple[torch.Tensor, float]:
    """Gradient and value of the mean loss of separate pairs, in float64 without packs."""
    policy = small_llama(seed=1).double()
    loss = torch.stack([loss_by_hand(policy, pair, spec) for pair in pairs]).mean()
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])
    return gradient, float(loss.detach()) * spec.loss.reported_scale


def test_one_pair_per_prompt_is_a_plain_pair(prompts: list[PairedPrompt]) -> None:
    """Bit for bit, wrapped or not."""
    pairs = [prompt.pairs[0] for prompt in prompts]
    wrapped: list[PairedPrompt] = [SeveralPairs([pair]) for pair in pairs]
    for equal_weight in ("prompts", "pairs"):
        spec = train_spec(REBEL, equal_weight=equal_weight)
        (gradient, sums), (expected, expected_sums) = gradient_of(wrapped, spec), gradient_of([*pairs], spec)
        assert torch.equal(gradient, expected) and torch.equal(sums, expected_sums)


class Counting(ResponseLogprobs):
    """Counts the tokens that are computed."""

    tokens = 0

    def forward(self, pack: Pack, expected: bool = False) -> torch.Tensor:
        self.tokens += pack.input_ids.numel()
        return super().forward(pack, expected)


def test_a_prompt_and_each_response_are_computed_once(prompts: list[PairedPrompt]) -> None:
    model, accelerator = Counting(small_llama(), TEMPERATURE), Accelerator(cpu=True)
    once = sum(
        len(prompt.pairs[0].prompt_token_ids)
        + sum(
            map(len, {tuple(ids) for pair in prompt.pairs for ids in (pair.chosen_token_ids, pair.rejected_token_ids)})
        )
        for prompt in prompts
    )
    backward_batch(model, prompts, train_spec(DPO), accelerator, 100)
    assert model.tokens == once == sum(map(count_tokens, prompts))
    pair_logprobs(model, prompts, "float32", 100)
    assert model.tokens == 2 * once
    asked = sum(len(prompt.pairs[0].prompt_token_ids) for prompt in prompts)
    assert sum(map(count_response_tokens, prompts)) == once - asked


def test_only_what_does_not_fit_is_computed_in_pieces(prompts: list[PairedPrompt]) -> None:
    """Two forward passes of the pieces, the prompt in each; its gradient is that of the whole."""
    spec, accelerator, sizes = train_spec(REBEL), Accelerator(cpu=True), sorted(map(count_tokens, prompts))
    expected, _ = gradient_of(prompts, spec)
    for budget in (sizes[-1], sizes[-1] - 1, sizes[6], 20):
        policy = small_llama(seed=1)
        model = Counting(policy, TEMPERATURE)
        backward_batch(model, prompts, spec, accelerator, budget)
        found = torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None]).double()
        assert difference(found, expected) < 1e-5
        pieces = [pieces_of(prompt.prompt_group, budget) for prompt in prompts]
        divided = sum(piece.tokens for of_one in pieces if len(of_one) > 1 for piece in of_one)
        assert model.tokens == divided + sum(piece.tokens for of_one in pieces for piece in of_one)
        assert (divided > 0) == (budget < sizes[-1])


@pytest.mark.parametrize(
    "memory",
    [LimitedMemory(30), LimitedMemory(30, "backward"), LimitedMemory(30, full_from=1)],
    ids=["forward", "backward", "after some packs"],
)
def test_prompts_that_do_not_fit_into_memory_are_divided(
    memory: LimitedMemory, prompts: list[PairedPrompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most prompts have more than 30 tokens, none with a single response has."""
    assert min(map(count_tokens, prompts)) < 30 < sorted(map(count_tokens, prompts))[3]
    expected, sums = gradient_of(prompts, train_spec(DPO))
    memory.install(monkeypatch)
    found, found_sums = gradient_of(prompts, train_spec(DPO), token_budget=150)
    assert max(memory.packs) > 30 >= memory.packs[-1]
    assert difference(found, expected) < 1e-5
    torch.testing.assert_close(found_sums, sums, rtol=1e-4, atol=1e-4)


def test_pieces_are_found_by_every_process(prompts: list[PairedPrompt]) -> None:
    groups = [prompt.prompt_group for prompt in prompts]
    model = ResponseLogprobs(small_llama(), TEMPERATURE)
    whole = group_logprobs(model, groups, "float32", ALL_AT_ONCE)
    shares = [group_logprobs(model, groups, "float32", 20, process=number, processes=2) for number in (0, 1)]
    for found, first, second in zip(whole, *shares, strict=True):
        assert [a + b for a, b in zip(first, second, strict=True)] == pytest.approx(found, abs=1e-4)
        assert all(0.0 in both for both in zip(first, second, strict=True))


def test_micro_batches_never_divide_a_prompt(prompts: list[PairedPrompt]) -> None:
    shares = [micro_batches(prompts, 60, process, 2) for process in range(2)]
    assert len(shares[0]) == len(shares[1])
    found = [prompt.prompt_id for share in shares for batch in share for prompt in batch]
    assert sorted(found) == sorted(prompt.prompt_id for prompt in prompts)


def test_validation_is_that_of_separate_pairs_weighted_by_prompt(prompts: list[PairedPrompt]) -> None:
    model, spec = ResponseLogprobs(small_llama(seed=1), TEMPERATURE), train_spec(DPO)
    found = validate(model, prompts, spec, 100, Accelerator(cpu=True)).metrics()
    alone = [validate(model, prompt.pairs, spec, 100, Accelerator(cpu=True)).metrics() for prompt in prompts]
    for name, value in found.items():
        assert value == pytest.approx(sum(metrics[name] for metrics in alone) / len(prompts), rel=1e-5)
    assert 0 < found["sign_agreement"] < 1
    by_pair: Validation = validate(model, prompts, train_spec(DPO, equal_weight="pairs"), 100, Accelerator(cpu=True))
    every = validate(model, pairs_of(prompts), spec, 100, Accelerator(cpu=True)).metrics()
    assert by_pair.metrics() == pytest.approx(every, rel=1e-5)


def test_a_training_counts_prompts_and_learns_from_all_their_pairs(prompts: list[PairedPrompt]) -> None:
    spec = train_spec(DPO, batch_size=4, epochs=8, learning_rate=3e-3, max_grad_norm=1.0)
    policy = small_llama()
    metrics = train(ResponseLogprobs(policy, TEMPERATURE), prompts, prompts, spec, Accelerator(cpu=True), 100).metrics
    assert [row["step"] for row in metrics] == list(range(1 + 8 * 3))
    assert metrics[-1]["tokens"] == 8 * sum(map(count_tokens, prompts))
    assert metrics[-1]["validation_loss"] < 0.5 * metrics[0]["validation_loss"]
    assert metrics[-1]["sign_agreement"] > 0.9
    pilot = train_spec(DPO, batch_size=4, pairs=9)
    rows = train(ResponseLogprobs(small_llama(), TEMPERATURE), prompts, [], pilot, Accelerator(cpu=True), 100).metrics
    assert rows[-1]["step"] == 2  # nine prompts are two whole batches


def test_a_whole_step_is_that_of_adamw(prompts: list[PairedPrompt]) -> None:
    """Prompts of four pairs each: the weights after a step on separate pairs in float64."""
    whole: list[PairedPrompt] = [prompt for prompt in prompts if len(prompt.pairs) == 4]
    recipe: dict[str, Any] = {"learning_rate": 1e-3, "adam_epsilon": 1e-2, "weight_decay": 0.1}
    spec = train_spec(REBEL, batch_size=len(whole), **recipe)
    policy = small_llama()
    train(ResponseLogprobs(policy, TEMPERATURE), whole, [], spec, Accelerator(cpu=True), 100)
    expected, *_ = step_by_hand(pairs_of(whole), spec)
    moved = expected - weights(small_llama())
    assert float((weights(policy) - expected).norm() / moved.norm()) < 2e-3


def test_a_wrong_reference_of_one_pair_is_named(prompts: list[PairedPrompt]) -> None:
    other = referenced(small_llama(seed=1), prompts[3:4], TEMPERATURE)
    model = ResponseLogprobs(small_llama(), TEMPERATURE)
    with pytest.raises(UserError, match=r"log-ratios of 44 pairs .* pair prompt-0-3, (chosen|rejected) response"):
        train(model, [*prompts[:3], *other, *prompts[4:]], [], train_spec(DPO), Accelerator(cpu=True), 100)
