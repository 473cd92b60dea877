"""Validation on test pairs, and the check that the initial policy is the reference of the training pairs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from rlhf.base.errors import UserError
from rlhf.logprobs.frozen_weights import store_frozen_matrices
from rlhf.logprobs.pairs import pair_logprobs
from rlhf.logprobs.responses import ResponseLogprobs, checked_logprobs
from rlhf.machine.budgets import forward_budget
from rlhf.machine.memory import logprob_memory
from rlhf.machine.model_shapes import known_shape
from rlhf.models.policies import load_policy
from rlhf.pairs.paired_prompts import PairedPrompt, undivided
from rlhf.pairs.schema import Pair
from rlhf.tokens.token_budget import TokenBudget
from rlhf.training.data import pair_batch, pair_weights, pairs_of
from rlhf.training.loss import PairBatch
from rlhf.training.processes.accelerator import unsharded
from rlhf.training.settings import TrainSpec

LOGGER = logging.getLogger("train_policy")
START_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}
"""Largest `start_error` attributed to rounding, by precision.

Measured on Llamas of 8 and 24 layers: bfloat16 differs from float32 by 0.01 to 0.05, and float32 from float64 by 1e-6
to 2e-5. Forgetting a temperature of 0.8 makes a difference of 0.4 to 2; in one part of eight, a third of that.
"""
START_PROMPTS = 128
"""Number of training prompts whose pairs are checked, spread over all parts."""
SHOWN = 3
"""Number of responses named in an error."""


@dataclass(frozen=True)
class Validation:
    """The validation pairs under the current policy."""

    batch: PairBatch
    spec: TrainSpec
    weights: torch.Tensor
    """What each pair counts in the means, float32 (pairs,)."""

    @classmethod
    def of(
        cls, prompts: Sequence[PairedPrompt], chosen: torch.Tensor, rejected: torch.Tensor, spec: TrainSpec
    ) -> Validation:
        """Of the log-probabilities of the pairs of all prompts, float32 (pairs,)."""
        weights = torch.tensor(pair_weights(prompts, spec), device=chosen.device)
        return cls(pair_batch(pairs_of(prompts), chosen, rejected), spec, weights)

    def metrics(self) -> dict[str, Any]:
        """Columns of `TRAINING`: the mean loss, in its published scaling, and the share of pairs with positive margin.

        Null if there are no validation pairs; the share also if the loss reads the chosen responses alone.
        """
        loss = self.spec.loss
        if not len(self.batch.chosen_logprob):
            return {"validation_loss": None, "sign_agreement": None}
        agreement = self._mean((loss.margin(self.batch) > 0).float()) if loss.needs_rejected else None
        return {
            "validation_loss": self._mean(loss.objective(self.batch)) * loss.reported_scale,
            "sign_agreement": agreement,
        }

    def _mean(self, values: torch.Tensor) -> float:
        return float((values * self.weights).sum() / self.weights.sum())


def validate(
    model: ResponseLogprobs,
    prompts: Sequence[PairedPrompt],
    spec: TrainSpec,
    token_budget: TokenBudget | int,
    accelerator: Accelerator,
) -> Validation:
    """Compute the validation pairs with the same function as their reference, distributed over the processes."""
    place = {"process": accelerator.process_index, "processes": accelerator.num_processes}
    values = pair_logprobs(model, prompts, spec.precision, token_budget, **place)
    chosen, rejected = accelerator.reduce(torch.tensor(values, device=accelerator.device), "sum").cpu()
    return Validation.of(prompts, chosen, rejected, spec)


def validate_saved(
    folder: Path, prompts: Sequence[PairedPrompt], spec: TrainSpec, token_budget: int, device: torch.device
) -> Validation:
    """Compute the validation pairs with a saved policy, in one process, loaded like later stages load it."""
    model = ResponseLogprobs(load_policy(str(folder), None, "float32", device), spec.temperature)
    chosen, rejected = pair_logprobs(model, prompts, spec.precision, token_budget)
    return Validation.of(prompts, torch.tensor(chosen), torch.tensor(rejected), spec)


def log_kept(saved: Validation, trained: Validation) -> None:
    """Log how much of what the adapters learned survives merging them into rounded weights."""
    if not saved.spec.loss.needs_reference or not len(saved.batch.chosen_logprob):
        return
    kept, learned = (
        float((found.batch.chosen_logratio - found.batch.rejected_logratio).mean()) for found in (saved, trained)
    )
    weights = saved.spec.precision
    LOGGER.info("merged adapters, in %s: the mean log-ratio margin is %.4g, and was %.4g", weights, kept, learned)


def validate_merged(
    folder: Path,
    prompts: Sequence[PairedPrompt],
    spec: TrainSpec,
    token_budget: int,
    device: torch.device,
    before: Validation | None,
) -> dict[str, Any]:
    """Validation metrics of the saved policy, whose merged and rounded adapters differ from what was trained.

    Args:
        before: the last validation during training, if there was one.
    """
    merged = validate_saved(folder, prompts, spec, token_budget, device)
    if before:
        log_kept(merged, before)
    return merged.metrics()


def check_reference(
    name: str,
    revision: str | None,
    prompts: Sequence[PairedPrompt],
    validation_prompts: Sequence[PairedPrompt],
    spec: TrainSpec,
    accelerator: Accelerator,
) -> None:
    """Check the log-probabilities of a training that does not start from its reference, with the reference itself.

    The same pairs as `check_start` looks at, and the same tolerance: their log-probabilities are computed again as
    `compute_logprobs` does. The main process loads the reference, and frees it; the others wait.

    Args:
        name, revision: the reference, a folder or a name on the hub.

    Raises:
        UserError: they are not those of the reference.
    """
    if accelerator.is_main_process:
        shape, device = known_shape(name, revision), accelerator.device
        memory = None if shape is None else partial(logprob_memory, shape, spec.precision)
        samples = validation_prompts, spread(prompts, START_PROMPTS)
        longest = max(undivided(prompt.prompt_group) for prompt in chain(*samples))
        token_budget = forward_budget("auto", device, memory, longest, "responses.max_tokens")
        with unsharded(accelerator):
            policy = load_policy(name, revision, "float32", device).requires_grad_(False)
            model = checked_logprobs(policy, spec.temperature)
        store_frozen_matrices(policy, spec.precision)
        for checked in samples:
            chosen, rejected = map(torch.tensor, pair_logprobs(model, checked, spec.precision, token_budget))
            check_start(Validation.of(checked, chosen, rejected, spec), pairs_of(checked), spec)
        del policy, model
        if device.type == "cuda":
            torch.cuda.empty_cache()
    accelerator.wait_for_everyone()


def check_start(start: Validation, pairs: Sequence[Pair], spec: TrainSpec) -> None:
    """Check that all log-ratios are zero up to rounding, so that the policy is the reference of the pairs.

    Raises:
        UserError: they are not; names the worst responses and likely causes.
    """
    if not spec.loss.needs_reference or not pairs:
        return
    logratios, tokens = _responses(start.batch)
    error, tolerance = start_error(logratios, tokens), START_TOLERANCE[spec.precision]
    if not error <= tolerance:
        worst = (logratios.abs() / tokens.sqrt()).argsort(descending=True)[:SHOWN].tolist()
        named = "; ".join(
            f"pair {pairs[index // 2].prompt_id}, {('chosen', 'rejected')[index % 2]} response: "
            f"{logratios[index]:.3g} over {tokens[index]:g} tokens"
            for index in worst
        )
        policy = "policy" if spec.starts_from_reference else f"reference {spec.lineage.reference_policy}"
        raise UserError(
            f"the {policy} is not the reference of its pairs: before the first step, the log-ratios of {len(pairs)} "
            f"pairs are {error:.3g} per token (root mean square), but rounding explains at most {tolerance:g}. The "
            f"worst are of {named}. Likely causes: the log-probabilities of some or all parts are of another model or "
            "revision, or were computed with other versions of the libraries. Delete them and run the pipeline again."
        )


def start_error(logratios: torch.Tensor, tokens: torch.Tensor) -> float:
    """Root mean square log-ratio per token, assuming that the errors of tokens are independent.

    A sum of n independent errors of size s has size s * sqrt(n), so rounding gives s for responses of any length, and
    each response is weighted by its tokens. A systematic error of d per token gives d * sqrt(n), which stands out more
    the longer the responses are.

    Args:
        logratios: log-ratio of each response, summed over its tokens, (responses,).
        tokens: number of tokens of each response, (responses,).
    """
    return float((logratios.double().square().sum() / tokens.sum()).sqrt())


def spread(prompts: Sequence[PairedPrompt], count: int) -> list[PairedPrompt]:
    """`count` evenly spaced prompts, or all if there are fewer, so that every part is represented."""
    count = min(count, len(prompts))
    return [prompts[number * len(prompts) // count] for number in range(count)]


def _responses(batch: PairBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-ratios and token counts of all responses, (2 * pairs,): chosen, rejected, chosen, rejected, ..."""
    logratios = torch.stack([batch.chosen_logratio, batch.rejected_logratio], 1)
    return logratios.flatten(), torch.stack([batch.chosen_tokens, batch.rejected_tokens], 1).flatten()
