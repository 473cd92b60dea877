"""Examples under the current policy: metrics of a validation, and log-ratios for the check at the start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rlhf.examples.schema import Example
from rlhf.training.units.example_loss import ExampleBatch, ExampleLoss
from rlhf.training.units.unit import Measured, Metrics, ResponseRatios


@dataclass(frozen=True)
class MeasuredExamples(Measured):
    """Examples, and their mismatched responses, under the current policy."""

    batch: ExampleBatch
    mismatched: torch.Tensor
    """Log-probabilities of the responses to other prompts, float32 (examples,)."""
    examples: Sequence[Example]
    loss: ExampleLoss

    def metrics(self) -> Metrics:
        """The mean loss, and the share of examples on their side of the reference point: a desirable one above it."""
        if not self.examples:
            return {"validation_loss": None, "sign_agreement": None}
        above = self.batch.logratio > self.batch.reference_point
        below = self.batch.logratio < self.batch.reference_point
        return {
            "validation_loss": float(self.loss.loss(self.batch).mean()) * self.loss.reported_scale,
            "sign_agreement": float(above.where(self.batch.desirable, below).float().mean()),
        }

    def ratios(self) -> ResponseRatios:
        reference = torch.tensor([example.other_logprob for example in self.examples], dtype=torch.float32)
        logratios = torch.stack([self.batch.logratio, self.mismatched - reference], 1).flatten()
        lengths = [[len(each.response_token_ids), len(each.other_token_ids)] for each in self.examples]
        names = [
            f"example {each.prompt_id} draw {each.draw}, {which}"
            for each in self.examples
            for which in ("its response", "the response to another prompt")
        ]
        return ResponseRatios(logratios, torch.tensor(lengths, dtype=torch.float32).flatten(), names)

    def gap(self) -> float | None:
        wanted, unwanted = (self.batch.logratio[self.batch.desirable == kind] for kind in (True, False))
        return float(wanted.mean() - unwanted.mean()) if len(wanted) and len(unwanted) else None
