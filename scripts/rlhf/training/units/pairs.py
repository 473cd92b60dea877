"""Preference pairs as what a training learns from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
from accelerate import Accelerator

from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.pairs.schema import Pair, PairTable
from rlhf.tokens.token_budget import TokenBudget
from rlhf.training.data import read_pairs
from rlhf.training.optimization.step import backward_batch, mean_metrics
from rlhf.training.settings import TrainSpec
from rlhf.training.units.unit import Metrics, RowFiles, Unit
from rlhf.training.validation import Validation, validate


class PairUnit(Unit[Pair]):
    """Preference pairs."""

    name = "pairs"

    def read(
        self,
        files: RowFiles,
        spec: TrainSpec,
        share: Callable[[Callable[[], Iterator[pa.Table]]], pa.Table],
        earlier: RowFiles,
    ) -> PairTable:
        return read_pairs(files.rows, files.logprobs, spec, share, earlier=earlier)

    def backward(
        self,
        model: ResponseLogprobs,
        batch: Sequence[Pair],
        spec: TrainSpec,
        accelerator: Accelerator,
        token_budget: TokenBudget | int,
    ) -> Metrics:
        return mean_metrics(backward_batch(model, batch, spec, accelerator, token_budget), len(batch), spec)

    def measure(
        self,
        model: ResponseLogprobs,
        rows: Sequence[Pair],
        spec: TrainSpec,
        token_budget: TokenBudget | int,
        accelerator: Accelerator | None = None,
    ) -> Validation:
        return validate(model, rows, spec, token_budget, accelerator)
