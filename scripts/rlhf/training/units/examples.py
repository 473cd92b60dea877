"""Examples as what a training learns from.

The reference point z of a step is a mean over its whole batch, and the gradient of each example depends on it. So it is
computed first: one forward pass, without a gradient, over the prompts with their mismatched responses. It does not
depend on how the batch is divided into micro-batches and over processes.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pyarrow as pa
import torch
from accelerate import Accelerator

from rlhf.examples.schema import Example, ExampleTable
from rlhf.logprobs.groups import group_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.tokens.packing import Pack
from rlhf.tokens.token_budget import TokenBudget, as_budget
from rlhf.training.optimization.step import BatchWork, accumulate_gradient, count_tokens
from rlhf.training.settings import TrainSpec
from rlhf.training.units.example_files import example_tables
from rlhf.training.units.example_loss import ExampleBatch, ExampleLoss
from rlhf.training.units.measured_examples import MeasuredExamples
from rlhf.training.units.unit import Metrics, RowFiles, Unit

SUMS = 3
"""How many numbers `backward` sums over the examples of a batch."""


class ExampleUnit(Unit[Example]):
    """Single responses that are desirable or undesirable."""

    name = "examples"

    def read(
        self,
        files: RowFiles,
        spec: TrainSpec,
        share: Callable[[Callable[[], Iterator[pa.Table]]], pa.Table],
        earlier: RowFiles,
    ) -> ExampleTable:
        return ExampleTable(share(partial(example_tables, [files, earlier], spec)))

    def backward(
        self,
        model: ResponseLogprobs,
        batch: Sequence[Example],
        spec: TrainSpec,
        accelerator: Accelerator,
        token_budget: TokenBudget | int,
    ) -> Metrics:
        mismatched = _logprobs(model, batch, spec, token_budget, accelerator, of_others=True)
        point = reference_point(batch, mismatched)

        def micro_batch(examples: Sequence[Example], weight: float) -> torch.Tensor:
            return backward(model, examples, weight, point, spec, accelerator)

        def prepare(_: int) -> tuple[list[Example], torch.Tensor]:
            return list(batch), torch.zeros(SUMS, device=accelerator.device)

        work = BatchWork(prepare, micro_batch, len(batch), lambda: list(map(count_tokens, batch)))
        sums = accumulate_gradient(model, work, accelerator, as_budget(token_budget))
        return batch_metrics(batch, *sums.tolist())

    def measure(
        self,
        model: ResponseLogprobs,
        rows: Sequence[Example],
        spec: TrainSpec,
        token_budget: TokenBudget | int,
        accelerator: Accelerator | None = None,
    ) -> MeasuredExamples:
        own, mismatched = (
            _logprobs(model, rows, spec, token_budget, accelerator, of_others=of_others) for of_others in (False, True)
        )
        batch = example_batch(rows, own, reference_point(rows, mismatched))
        return MeasuredExamples(batch, mismatched, list(rows), loss_of(spec))


def reference_point(examples: Sequence[Example], mismatched: torch.Tensor) -> float:
    """z = max(0, mean over the examples of log pi(y' | x) - log pi_ref(y' | x)), y' the response to another prompt

    Args:
        mismatched: log pi(y' | x), float32 (examples,).
    """
    reference = torch.tensor([example.other_logprob for example in examples], dtype=torch.float64)
    ratios = mismatched.double().cpu() - reference
    return max(0.0, float(ratios.mean())) if len(ratios) else 0.0


def backward(
    model: ResponseLogprobs,
    examples: Sequence[Example],
    weight: float,
    point: float,
    spec: TrainSpec,
    accelerator: Accelerator,
) -> torch.Tensor:
    """Add the gradient of `weight` times the summed loss of one micro-batch.

    Args:
        point: the reference point of the whole batch.

    Returns:
        Sums over the examples, float32 (SUMS,): loss, log-ratios of the desirable and of the undesirable ones.
    """
    with accelerator.autocast():
        logprobs = model(Pack([example.prompt_group for example in examples], accelerator.device))
    batch = example_batch(examples, logprobs, point)
    losses = loss_of(spec).loss(batch)
    accelerator.backward(losses.sum() * weight)
    desirable = batch.desirable.float()
    return torch.stack([losses, batch.logratio * desirable, batch.logratio * (1 - desirable)]).detach().sum(1)


def example_batch(examples: Sequence[Example], logprobs: torch.Tensor, point: float) -> ExampleBatch:
    """A batch of examples for the loss.

    Args:
        logprobs: the policy's log-probabilities of the responses, float32 (examples,).
    """
    device = logprobs.device
    reference = torch.tensor([example.logprob for example in examples], dtype=torch.float32, device=device)
    desirable = torch.tensor([example.desirable for example in examples], dtype=torch.bool, device=device)
    return ExampleBatch(logprobs, reference, desirable, point)


def batch_metrics(batch: Sequence[Example], loss: float, desirable: float, undesirable: float) -> Metrics:
    """Columns of `TRAINING`: chosen stands for desirable, rejected for undesirable examples; null where there are none.

    Args:
        loss, desirable, undesirable: the sums of `backward` over the batch.
    """
    wanted, unwanted = ([each.reward for each in batch if each.desirable == kind] for kind in (True, False))
    both = bool(wanted and unwanted)
    return {
        "loss": loss / len(batch),
        "reward_gap": statistics.fmean(wanted) - statistics.fmean(unwanted) if both else None,
        "chosen_logratio": desirable / len(wanted) if wanted else None,
        "rejected_logratio": undesirable / len(unwanted) if unwanted else None,
    }


def loss_of(spec: TrainSpec) -> ExampleLoss:
    assert isinstance(spec.loss, ExampleLoss)
    return spec.loss


def _logprobs(
    model: ResponseLogprobs,
    examples: Sequence[Example],
    spec: TrainSpec,
    token_budget: TokenBudget | int,
    accelerator: Accelerator | None,
    *,
    of_others: bool,
) -> torch.Tensor:
    """Log-probabilities without a gradient, of the responses or of those to other prompts, float32 (examples,)."""
    groups = [example.mismatched if of_others else example.prompt_group for example in examples]
    place = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
    found = group_logprobs(model, groups, spec.precision, token_budget, process=place[0], processes=place[1])
    values = torch.tensor([value for (value,) in found], dtype=torch.float32)
    return accelerator.reduce(values.to(accelerator.device), "sum").cpu() if accelerator else values
