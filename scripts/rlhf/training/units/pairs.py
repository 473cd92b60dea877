"""Preference pairs as what a training learns from: prompts, each with its pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
from accelerate import Accelerator

from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.pairs.paired_prompts import PairedPrompt, PairedPrompts
from rlhf.tokens.token_budget import TokenBudget
from rlhf.training.data import pair_weights, read_pairs
from rlhf.training.optimization.step import backward_batch, mean_metrics
from rlhf.training.settings import TrainSpec
from rlhf.training.units.unit import Metrics, RowFiles, Unit
from rlhf.training.validation import Validation, validate


class PairUnit(Unit[PairedPrompt]):
    """Prompts with their preference pairs."""

    name = "pairs"

    def counted(self, rows: Sequence[PairedPrompt]) -> str:
        return self.name if all(len(prompt.pairs) == 1 for prompt in rows) else "prompts"

    def read(
        self,
        files: RowFiles,
        spec: TrainSpec,
        share: Callable[[Callable[[], Iterator[pa.Table]]], pa.Table],
        earlier: RowFiles,
    ) -> PairedPrompts:
        return read_pairs(files.rows, files.logprobs, spec, share, earlier=earlier)

    def backward(
        self,
        model: ResponseLogprobs,
        batch: Sequence[PairedPrompt],
        spec: TrainSpec,
        accelerator: Accelerator,
        token_budget: TokenBudget | int,
    ) -> Metrics:
        sums = backward_batch(model, batch, spec, accelerator, token_budget)
        return mean_metrics(sums, sum(pair_weights(batch, spec)), spec)

    def measure(
        self,
        model: ResponseLogprobs,
        rows: Sequence[PairedPrompt],
        spec: TrainSpec,
        token_budget: TokenBudget | int,
        accelerator: Accelerator | None = None,
    ) -> Validation:
        return validate(model, rows, spec, token_budget, accelerator)
