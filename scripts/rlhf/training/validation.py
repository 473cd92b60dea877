"""Validation on test pairs, and the check that training starts where its reference is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from rlhf.base.errors import UserError
from rlhf.logprobs.pairs import pair_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.models.policies import load_policy
from rlhf.pairs.schema import Pair
from rlhf.tokens.token_budget import TokenBudget
from rlhf.training.data import pair_batch
from rlhf.training.loss import PairBatch
from rlhf.training.settings import TrainSpec

LOGGER = logging.getLogger("train_policy")
START_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}
"""Largest `start_error` that rounding is held to make, by precision.

Measured on Llamas of 8 and 24 layers: bfloat16 is 0.01 to 0.05 away from float32, and that 1e-6 to 2e-5 from float64.
Logits that were not divided by 0.8 are 0.4 to 2 away; where one part of eight is wrong, a third of that is left.
"""
START_PAIRS = 128
"""Training pairs that are checked, spread over all parts."""
SHOWN = 3
"""Responses that an error names."""


@dataclass(frozen=True)
class Validation:
    """The validation pairs under the policy of the moment."""

    batch: PairBatch
    spec: TrainSpec

    def metrics(self) -> dict[str, Any]:
        """Columns of `TRAINING`: the mean published loss, and the share of pairs whose margin is positive.

        Null without validation pairs.
        """
        loss = self.spec.loss
        if not len(self.batch.chosen_logprob):
            return {"validation_loss": None, "sign_agreement": None}
        return {
            "validation_loss": float(loss.loss(self.batch).mean()) * loss.reported_scale,
            "sign_agreement": float((loss.margin(self.batch) > 0).float().mean()),
        }


def validate(
    model: ResponseLogprobs,
    pairs: Sequence[Pair],
    spec: TrainSpec,
    token_budget: TokenBudget | int,
    accelerator: Accelerator,
) -> Validation:
    """Compute the validation pairs by the same function as their reference, each on one of the processes."""
    share = {"process": accelerator.process_index, "processes": accelerator.num_processes}
    values = pair_logprobs(model, pairs, spec.precision, token_budget, **share)
    chosen, rejected = accelerator.reduce(torch.tensor(values, device=accelerator.device), "sum").cpu()
    return Validation(pair_batch(pairs, chosen, rejected), spec)


def validate_saved(
    folder: Path, pairs: Sequence[Pair], spec: TrainSpec, token_budget: int, device: torch.device
) -> Validation:
    """Compute the validation pairs from a saved policy, in one process, as the stages after training load it."""
    model = ResponseLogprobs(load_policy(str(folder), None, "float32", device), spec.temperature)
    chosen, rejected = pair_logprobs(model, pairs, spec.precision, token_budget)
    return Validation(pair_batch(pairs, torch.tensor(chosen), torch.tensor(rejected)), spec)


def log_kept(saved: Validation, trained: Validation) -> None:
    """Say how much of what adapters had learned is left where they are merged."""
    if not saved.spec.loss.needs_reference or not len(saved.batch.chosen_logprob):
        return
    kept, learned = (
        float((found.batch.chosen_logratio - found.batch.rejected_logratio).mean()) for found in (saved, trained)
    )
    weights = saved.spec.precision
    LOGGER.info("merged adapters, in %s: the mean log-ratio margin is %.4g, and was %.4g", weights, kept, learned)


def validate_merged(
    folder: Path,
    pairs: Sequence[Pair],
    spec: TrainSpec,
    token_budget: int,
    device: torch.device,
    before: Validation | None,
) -> dict[str, Any]:
    """Metrics of the saved policy: adapters that are merged and rounded are not quite what was validated in training.

    Args:
        before: the last validation of the training, if there was one.
    """
    merged = validate_saved(folder, pairs, spec, token_budget, device)
    if before:
        log_kept(merged, before)
    return merged.metrics()


def check_start(start: Validation, pairs: Sequence[Pair], spec: TrainSpec) -> None:
    """Stop unless the log-ratios are zero up to rounding: the policy must start as the reference of its pairs.

    Raises:
        UserError: names the worst responses and the likely causes.
    """
    if not spec.loss.needs_reference or not pairs:
        return
    logratios, tokens = _responses(start.batch)
    error, tolerance = start_error(logratios, tokens), START_TOLERANCE[spec.precision]
    if not error <= tolerance:
        worst = (logratios.abs() / tokens.sqrt()).argsort(descending=True)[:SHOWN].tolist()
        named = "; ".join(
            f"pair {pairs[index // 2]['prompt_id']}, {('chosen', 'rejected')[index % 2]} response: "
            f"{logratios[index]:.3g} over {tokens[index]:g} tokens"
            for index in worst
        )
        raise UserError(
            f"the policy is not the reference of its pairs: before the first step, the log-ratios of {len(pairs)} of "
            f"them are {error:.3g} per token (root mean square), and rounding makes no more than {tolerance:g}. The "
            f"worst are of {named}. Likely causes: log-probabilities, of all parts or of some, are of another model or "
            "revision, or were computed by another version of the libraries. Delete them and run the pipeline again."
        )


def start_error(logratios: torch.Tensor, tokens: torch.Tensor) -> float:
    """The root mean square log-ratio per token, where the tokens' differences are independent of each other.

    The sum of n independent differences of size s has the size s * sqrt(n): so rounding gives s for responses of any
    length, and one response counts by its share of the tokens. What differs by d per token, always in one direction,
    gives d * sqrt(n): the longer the responses, the more it stands out of rounding.

    Args:
        logratios: summed over each response's tokens, (responses,).
        tokens: of each response.
    """
    return float((logratios.double().square().sum() / tokens.sum()).sqrt())


def spread(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """`count` of the pairs, or all, at equal distances: every part gives its share."""
    count = min(count, len(pairs))
    return [pairs[number * len(pairs) // count] for number in range(count)]


def _responses(batch: PairBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-ratios and tokens of all responses, (2 * pairs,): chosen and rejected of the first pair, of the second..."""
    logratios = torch.stack([batch.chosen_logratio, batch.rejected_logratio], 1)
    return logratios.flatten(), torch.stack([batch.chosen_tokens, batch.rejected_tokens], 1).flatten()
