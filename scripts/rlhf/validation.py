"""Validation on test pairs, and the check that training starts where its reference is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator

from rlhf.errors import UserError
from rlhf.losses import PairBatch
from rlhf.pair_logprobs import pair_logprobs
from rlhf.preference_data import Pair, pair_batch
from rlhf.sequence_logprobs import ResponseLogprobs
from rlhf.token_budget import TokenBudget
from rlhf.training import TrainSpec

START_TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}
"""Largest log-ratio per token at step 0, by precision: what another order of sums makes of equal models."""


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


def check_start(start: Validation, pairs: Sequence[Pair], spec: TrainSpec) -> None:
    """Stop unless the log-ratios are zero up to rounding: the policy must start as the reference of its pairs.

    Raises:
        UserError: names the worst pair and the likely causes.
    """
    if not spec.loss.needs_reference or not pairs:
        return
    batch = start.batch
    per_token = torch.maximum(
        batch.chosen_logratio.abs() / batch.chosen_tokens, batch.rejected_logratio.abs() / batch.rejected_tokens
    )
    worst = int(per_token.argmax())
    tolerance = START_TOLERANCE[spec.precision]
    if not float(per_token[worst]) <= tolerance:
        raise UserError(
            f"at step 0 the policy is not the reference of its pairs: the log-ratio of pair "
            f"{pairs[worst]['prompt_id']} is {float(per_token[worst]):.3g} per token, and {tolerance:g} is rounding. "
            "Likely causes: the log-probabilities are of another model or revision, or were computed by another "
            "version of the libraries. Delete them and run the pipeline again."
        )
