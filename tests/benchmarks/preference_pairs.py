"""Log-probabilities and gradients of preference pairs: packs, against rows padded to 3072 tokens."""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from transformers import LlamaConfig, LlamaForCausalLM

from padded_layout import PAD_ID, PROMPT_LENGTH, RESPONSE_LENGTH, padded_pair
from rlhf.logprobs.pairs import pair_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.machine.device import granted_device
from rlhf.pairs.schema import Pair
from rlhf.tokens.packing import Pack, PromptGroup, balanced_packs, pack_budget
from rlhf.training.compute_rate import ComputeMeter
from rlhf.training.data import pair_batch
from rlhf.training.losses.rebel import rebel_loss
from rlhf.training.optimization.step import backward_batch, count_response_tokens, count_tokens
from rlhf.training.settings import RecipeSettings, TrainSpec

TEMPERATURE = 0.8
ETA = 1e6


def prepare(way: str, options: dict[str, Any], folder: Path, stack: contextlib.ExitStack) -> Callable[[], Any]:
    """Make the model and the pairs. A round takes the next `1 / parts` of them; the peer skips to each `peer_every`-th.

    The work is `logprobs`, forward only, or `gradient`, of the mean REBEL loss of a round's pairs. The tutorial pads;
    with `against: apart` it is replaced by packs that do not share prompts.
    """
    torch.set_num_threads(options["threads"])
    device = torch.device(options["device"])
    if way == "pipeline":
        granted_device(gpus=int(device.type == "cuda"), threads=options["threads"])  # as the programs do at the start
    pairs = the_pairs(options)
    policy = random_policy(options, device)
    spec = training_spec(options)
    packed = way == "pipeline" or options.get("against") == "apart"
    model: Any = ResponseLogprobs(policy, TEMPERATURE) if packed else policy
    share = len(pairs) // options["parts"]
    every = 1 if way == "pipeline" else options.get("peer_every", 1)
    parts = iter([pairs[start : start + share] for start in range(0, len(pairs), share * every)])
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no" if spec.precision == "float32" else "bf16")

    def logprobs(part: list[Pair]) -> list[float]:
        if way == "tutorial":
            return tutorial_logprobs(model, part, device, spec.precision)
        chosen, rejected = pair_logprobs(model, part, spec.precision, options["token_budget"])
        return [*chosen, *rejected]

    def gradient(part: list[Pair]) -> list[float]:
        if way == "tutorial" and options.get("against") == "apart":
            return gradient_apart(model, part, device, spec.precision, options["token_budget"])
        if way == "tutorial":
            return tutorial_gradient(model, part, device, spec.precision)
        return (backward_batch(model, part, spec, accelerator, options["token_budget"])[2:] / len(part)).tolist()

    def work() -> dict[str, Any]:
        part = next(parts)
        start = time.perf_counter()
        values = {"logprobs": logprobs, "gradient": gradient}[options["work"]](part)
        if device.type == "cuda":
            torch.cuda.synchronize()
        facts: dict[str, Any] = {"seconds": time.perf_counter() - start, "scores": values}
        facts |= {"tokens": sum(map(count_tokens, part)), "pairs": len(part)}
        if options["work"] == "gradient":
            facts["gradient"] = str(take_gradient(policy, folder / "gradient.pt"))
        if options["matrix_tflops"] is not None:
            rate = matrix_operations(policy, part, options["work"]) / facts["seconds"]
            facts["matrix_share"] = rate / (options["matrix_tflops"] * 1e12)
        return facts

    return work


def matrix_operations(policy: LlamaForCausalLM, pairs: list[Pair], work: str) -> float:
    """Operations of the matrix products on these pairs: forward is a third of what a training step needs."""
    meter = ComputeMeter(policy, policy.device, 1, adapters=False)
    meter.count(sum(map(count_tokens, pairs)), sum(map(count_response_tokens, pairs)))
    return meter.operations / (3 if work == "logprobs" else 1)


def tutorial_row(policy: LlamaForCausalLM, ids: list[int], device: torch.device) -> torch.Tensor:
    """The log-probability of one padded row, shape (): logits of all 3072 positions, then the response's."""
    row = torch.tensor([ids], device=device)
    attended = row != PAD_ID
    positions = (attended.long().cumsum(1) - 1).clamp(min=0)
    inputs = row.masked_fill(~attended, 0)
    logits = policy(input_ids=inputs, attention_mask=attended.long(), position_ids=positions, use_cache=False).logits
    logits = logits[:, PROMPT_LENGTH - 1 : -1].float() / TEMPERATURE
    targets, counted = inputs[:, PROMPT_LENGTH:], attended[:, PROMPT_LENGTH:]
    tokens = torch.log_softmax(logits, dim=-1).gather(2, targets[..., None])[..., 0]
    return (tokens * counted).sum()


def tutorial_logprobs(policy: LlamaForCausalLM, pairs: list[Pair], device: torch.device, precision: str) -> list[float]:
    """One row at a time: all chosen, then all rejected."""
    rows = [padded_rows(pair) for pair in pairs]
    with torch.no_grad(), autocast(device, precision):
        return [float(tutorial_row(policy, row[side], device)) for side in (0, 1) for row in rows]


def tutorial_gradient(policy: LlamaForCausalLM, pairs: list[Pair], device: torch.device, precision: str) -> list[float]:
    """One pair at a time; its two rows are in memory together, because the loss needs both."""
    sums = torch.zeros(2)
    for pair in pairs:
        with autocast(device, precision):
            chosen, rejected = (tutorial_row(policy, row, device) for row in padded_rows(pair))
        gap = ETA * (pair.chosen_reward - pair.rejected_reward)
        logratios = chosen - pair.chosen_logprob, rejected - pair.rejected_logprob
        ((logratios[0] - logratios[1] - gap) ** 2 / ETA / len(pairs)).backward()
        sums += torch.stack(logratios).detach().cpu()
    return (sums / len(pairs)).tolist()


def gradient_apart(
    model: ResponseLogprobs, pairs: list[Pair], device: torch.device, precision: str, token_budget: int
) -> list[float]:
    """Also in packs, but with each prompt twice: once before each of its responses."""
    sums = torch.zeros(2)
    groups = [pair.prompt_group for pair in pairs]
    for members in balanced_packs([group.tokens for group in groups], pack_budget(token_budget, device)):
        apart = [PromptGroup(groups[index].prompt, [ids]) for index in members for ids in groups[index].responses]
        with autocast(device, precision):
            chosen, rejected = model(Pack(apart, device)).view(-1, 2).unbind(1)
        batch = pair_batch([pairs[index] for index in members], chosen, rejected)
        (rebel_loss(batch, ETA).sum() / len(pairs)).backward()
        sums += torch.stack([batch.chosen_logratio, batch.rejected_logratio]).detach().sum(1).cpu()
    return (sums / len(pairs)).tolist()


def padded_rows(pair: Pair) -> tuple[list[int], list[int]]:
    return padded_pair(pair.prompt_token_ids, pair.chosen_token_ids, pair.rejected_token_ids)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def take_gradient(policy: LlamaForCausalLM, path: Path) -> Path:
    """Write the gradient of this round, and zero it for the next one, in the same memory."""
    found = [parameter.grad.flatten() for parameter in policy.parameters() if parameter.grad is not None]
    torch.save(torch.cat(found).cpu(), path)
    policy.zero_grad(set_to_none=False)
    return path


def random_policy(options: dict[str, Any], device: torch.device) -> LlamaForCausalLM:
    """A random Llama with float32 weights; SDPA attention for the tutorial's way."""
    config = LlamaConfig(
        vocab_size=options["vocabulary"],
        hidden_size=options["hidden"],
        intermediate_size=options.get("intermediate", options["hidden"] * 11 // 4),
        num_hidden_layers=options["layers"],
        num_attention_heads=options["heads"],
        num_key_value_heads=options.get("key_heads", options["heads"] // 2),
        max_position_embeddings=8192,
        attn_implementation="sdpa",
    )
    torch.manual_seed(0)
    with device:
        return LlamaForCausalLM(config).eval()


def training_spec(options: dict[str, Any]) -> TrainSpec:
    return TrainSpec.model_validate(
        {
            "seed": 0,
            "policy": "benchmark-1",
            "lineage": {"base_model": "random", "parent": "base", "dataset": "random"},
            "model": None,
            "precision": options["precision"],
            "temperature": TEMPERATURE,
            "loss": {"name": "rebel", "eta": ETA},
            "recipe": RecipeSettings().model_dump(),
        }
    )


def the_pairs(options: dict[str, Any]) -> list[Pair]:
    """Real ones, where `measuring` has made a file of them, else made ones."""
    if "pairs_file" not in options:
        return made_pairs(options)
    return [pair_of(index, *ids) for index, ids in enumerate(json.loads(Path(options["pairs_file"]).read_text()))]


def made_pairs(options: dict[str, Any]) -> list[Pair]:
    """Pairs of what `made_ids` makes."""
    numbers = random.Random(0)
    return [pair_of(index, *made_ids(options, numbers, 2)) for index in range(options["pairs"])]


def made_ids(options: dict[str, Any], numbers: random.Random, responses: int) -> list[list[int]]:
    """A prompt and some responses of random tokens.

    Their lengths are those of the real prompts (45 tokens on average) and responses (450), or follow the options:
    `log_lengths` with as much spread, or exactly `prompt_tokens` and `response_tokens`.
    """

    def ids(mean: float, spread: float, longest: int) -> list[int]:
        length = min(longest, 1 + int(numbers.lognormvariate(mean, spread)))
        return [numbers.randrange(options["vocabulary"]) for _ in range(length)]

    if "prompt_tokens" in options:
        lengths = [options["prompt_tokens"], *[options["response_tokens"]] * responses]
        return [[numbers.randrange(options["vocabulary"]) for _ in range(length)] for length in lengths]
    prompt, response = options.get("log_lengths", (3.5, 5.9))
    longest = options.get("longest", RESPONSE_LENGTH)
    return [ids(prompt, 0.7, min(longest, PROMPT_LENGTH)), *(ids(response, 0.6, longest) for _ in range(responses))]


def pair_of(index: int, prompt: list[int], chosen: list[int], rejected: list[int]) -> Pair:
    """A pair with rewards and reference log-probabilities that are made up, but the same for all."""
    return Pair(
        prompt_id=str(index),
        prompt_token_ids=prompt,
        chosen_token_ids=chosen,
        rejected_token_ids=rejected,
        chosen_reward=0.15,
        rejected_reward=0.1,
        chosen_win_probability=0.6,
        rejected_win_probability=0.4,
        chosen_logprob=-8.0 * len(chosen),
        rejected_logprob=-8.0 * len(rejected),
    )
