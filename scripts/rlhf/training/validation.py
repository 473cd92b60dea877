"""Validation on test pairs, and the check that the initial policy is the reference of the training pairs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from accelerate import Accelerator

from rlhf.base.errors import UserError
from rlhf.base.settings import Precision
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
from rlhf.training.units.unit import AnyRow, Measured, Metrics, ResponseRatios, Row

LOGGER = logging.getLogger("train_policy")
START_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}
"""Largest `start_error` attributed to rounding, by precision.

Measured on Llamas of 8 and 24 layers: bfloat16 differs from float32 by 0.01 to 0.05, and float32 from float64 by 1e-6
to 2e-5. Forgetting a temperature of 0.8 makes a difference of 0.4 to 2; in one part of eight, a third of that.
"""
START_ROWS = 128
"""Number of training prompts with pairs, or examples, to check, spread over all parts."""
SHOWN = 3
"""Number of responses named in an error."""


@dataclass(frozen=True)
class Validation(Measured):
    """The validation pairs under the current policy."""

    batch: PairBatch
    spec: TrainSpec
    weights: torch.Tensor
    """What each pair counts in the means, float32 (pairs,)."""
    pairs: Sequence[Pair]
    """In the order of the batch."""

    @classmethod
    def of(
        cls, prompts: Sequence[PairedPrompt], chosen: torch.Tensor, rejected: torch.Tensor, spec: TrainSpec
    ) -> Validation:
        """Of the log-probabilities of the pairs of all prompts, float32 (pairs,)."""
        weights = torch.tensor(pair_weights(prompts, spec), device=chosen.device)
        pairs = pairs_of(prompts)
        return cls(pair_batch(pairs, chosen, rejected), spec, weights, pairs)

    def metrics(self) -> Metrics:
        """Columns of `TRAINING`: the mean loss, in its published scaling, and the share of pairs with positive margin.

        Null if there are no validation pairs; the share also if the loss reads the chosen responses alone.
        """
        loss = self.spec.pair_loss
        if not len(self.batch.chosen_logprob):
            return {"validation_loss": None, "sign_agreement": None}
        agreement = self._mean((loss.margin(self.batch) > 0).float()) if loss.needs_rejected else None
        return {
            "validation_loss": self._mean(loss.objective(self.batch)) * loss.reported_scale,
            "sign_agreement": agreement,
        }

    def _mean(self, values: torch.Tensor) -> float:
        return float((values * self.weights).sum() / self.weights.sum())

    def ratios(self) -> ResponseRatios:
        """Of all responses, (2 * pairs,): chosen, rejected, chosen, rejected, ..."""
        batch = self.batch
        logratios = torch.stack([batch.chosen_logratio, batch.rejected_logratio], 1).flatten()
        tokens = torch.stack([batch.chosen_tokens, batch.rejected_tokens], 1).flatten()
        names = [f"pair {pair.prompt_id}, {side} response" for pair in self.pairs for side in ("chosen", "rejected")]
        return ResponseRatios(logratios, tokens, names)

    def gap(self) -> float | None:
        if not self.spec.loss.needs_reference or not len(self.batch.chosen_logprob):
            return None
        return self._mean(self.batch.chosen_logratio - self.batch.rejected_logratio)


def validate(
    model: ResponseLogprobs,
    prompts: Sequence[PairedPrompt],
    spec: TrainSpec,
    token_budget: TokenBudget | int,
    accelerator: Accelerator | None = None,
) -> Validation:
    """Compute the validation pairs with the same function as their reference.

    Args:
        accelerator: of the processes that divide the work; None computes everything in this one.
    """
    process, processes = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
    found = pair_logprobs(model, prompts, spec.precision, token_budget, process=process, processes=processes)
    values = torch.tensor(found)
    if accelerator:
        values = accelerator.reduce(values.to(accelerator.device), "sum").cpu()
    chosen, rejected = values
    return Validation.of(prompts, chosen, rejected, spec)


def validate_merged(
    folder: Path,
    rows: Sequence[Row],
    spec: TrainSpec,
    token_budget: int,
    device: torch.device,
    before: Measured | None,
) -> Metrics:
    """Validation metrics of the saved policy, whose merged and rounded adapters differ from what was trained.

    In one process, with the policy loaded like later stages load it.

    Args:
        before: the last validation during training, if there was one.
    """
    model = ResponseLogprobs(load_policy(str(folder), None, "float32", device), spec.temperature)
    merged = spec.loss.unit().measure(model, rows, spec, token_budget)
    if before:
        log_kept(merged, before, spec.precision)
    return merged.metrics()


def log_kept(saved: Measured, trained: Measured, weights: Precision) -> None:
    """Log how much of what the adapters learned survives merging them into rounded weights."""
    kept, learned = saved.gap(), trained.gap()
    if kept is not None and learned is not None:
        LOGGER.info("merged adapters, in %s: the mean log-ratio margin is %.4g, and was %.4g", weights, kept, learned)


def check_reference(
    name: str,
    revision: str | None,
    rows: Sequence[Row],
    validation_rows: Sequence[Row],
    spec: TrainSpec,
    accelerator: Accelerator,
) -> None:
    """Check the log-probabilities of a training that does not start from its reference, with the reference itself.

    The same rows as `check_start` looks at, and the same tolerance: their log-probabilities are computed again as
    `compute_logprobs` does. The main process loads the reference, and frees it; the others wait.

    Args:
        name, revision: the reference, a folder or a name on the hub.

    Raises:
        UserError: they are not those of the reference.
    """
    if accelerator.is_main_process:
        shape, device = known_shape(name, revision), accelerator.device
        memory = None if shape is None else partial(logprob_memory, shape, spec.precision)
        samples = validation_rows, spread(rows, START_ROWS)
        longest = max(undivided(row.prompt_group) for row in chain(*samples))
        token_budget = forward_budget("auto", device, memory, longest, "responses.max_tokens")
        with unsharded(accelerator):
            policy = load_policy(name, revision, "float32", device).requires_grad_(False)
            model = checked_logprobs(policy, spec.temperature)
        store_frozen_matrices(policy, spec.precision)
        for checked in samples:
            check_start(spec.loss.unit().measure(model, checked, spec, token_budget), checked, spec)
        del policy, model
        if device.type == "cuda":
            torch.cuda.empty_cache()
    accelerator.wait_for_everyone()


def check_start(start: Measured, rows: Sequence[Row], spec: TrainSpec) -> None:
    """Check that all log-ratios are zero up to rounding, so that the policy is the reference of the rows.

    Raises:
        UserError: they are not; names the worst responses and likely causes.
    """
    if not spec.loss.needs_reference or not rows:
        return
    logratios, tokens, names = start.ratios()
    error, tolerance = start_error(logratios, tokens), START_TOLERANCE[spec.precision]
    if not error <= tolerance:
        worst = (logratios.abs() / tokens.sqrt()).argsort(descending=True)[:SHOWN].tolist()
        named = "; ".join(f"{names[index]}: {logratios[index]:.3g} over {tokens[index]:g} tokens" for index in worst)
        policy = "policy" if spec.starts_from_reference else f"reference {spec.lineage.reference_policy}"
        unit, count = spec.loss.unit().name, len(names) // 2  # of a pair or an example two responses are checked
        raise UserError(
            f"the {policy} is not the reference of its {unit}: before the first step, the log-ratios of {count} "
            f"{unit} are {error:.3g} per token (root mean square), but rounding explains at most {tolerance:g}. The "
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


def spread(rows: Sequence[AnyRow], count: int) -> list[AnyRow]:
    """`count` evenly spaced rows, or all if there are fewer, so that every part is represented."""
    count = min(count, len(rows))
    return [rows[number * len(rows) // count] for number in range(count)]
