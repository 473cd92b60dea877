"""What a training learns from, and how that is read, computed and checked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

import pyarrow as pa
import torch

from rlhf.tokens.prompt_group import PromptGroup

if TYPE_CHECKING:
    from accelerate import Accelerator

    from rlhf.examples.schema import ExampleTable
    from rlhf.logprobs.responses import ResponseLogprobs
    from rlhf.pairs.paired_prompts import PairedPrompts
    from rlhf.tokens.token_budget import TokenBudget
    from rlhf.training.settings import TrainSpec

Metrics = dict[str, Any]
"""Columns of a row of `TRAINING`."""


class Row(Protocol):
    """A prompt with its pairs, or an example."""

    @property
    def prompt_id(self) -> str: ...

    @property
    def prompt_group(self) -> PromptGroup:
        """The prompt with the responses that a training step computes a gradient of."""


AnyRow = TypeVar("AnyRow", bound=Row)


class RowFiles(NamedTuple):
    """Files of pairs or examples, and in the same order of their log-probabilities if the loss needs them."""

    rows: Sequence[Path] = ()
    logprobs: Sequence[Path] = ()


class ResponseRatios(NamedTuple):
    """Log-ratios of responses, for the check that a policy is the reference of its rows."""

    logratios: torch.Tensor
    """Summed over the tokens, (responses,)."""
    tokens: torch.Tensor
    """(responses,)"""
    names: Sequence[str]
    """In messages: which response it is."""


class Measured(ABC):
    """Rows under the current policy."""

    @abstractmethod
    def metrics(self) -> Metrics:
        """`validation_loss`, in its published scaling, and `sign_agreement`; null without rows."""

    @abstractmethod
    def ratios(self) -> ResponseRatios:
        """The log-ratio of every response."""

    @abstractmethod
    def gap(self) -> float | None:
        """Mean log-ratio of wanted responses less that of unwanted ones; None where there is none."""


class Unit(ABC, Generic[AnyRow]):
    """Prompts with their pairs, or examples."""

    name: str
    """What it learns from, plural, in messages."""

    def counted(self, rows: Sequence[AnyRow]) -> str:
        """What these rows are called where they are counted."""
        return self.name

    @abstractmethod
    def read(
        self,
        files: RowFiles,
        spec: TrainSpec,
        share: Callable[[Callable[[], Iterator[pa.Table]]], pa.Table],
        earlier: RowFiles,
    ) -> PairedPrompts | ExampleTable:
        """All rows with their reference log-probabilities.

        Args:
            share: reads the tables with the function that it gets and returns them as one, once per machine.
            earlier: of earlier iterations.

        Raises:
            ArtifactError: log-probabilities are missing, or are of other rows, another temperature or precision.
        """

    @abstractmethod
    def backward(
        self,
        model: ResponseLogprobs,
        batch: Sequence[AnyRow],
        spec: TrainSpec,
        accelerator: Accelerator,
        token_budget: TokenBudget | int,
    ) -> Metrics:
        """Accumulate the gradient of a batch's mean loss, distributed over the processes.

        Returns:
            The metrics of the batch, the same in every process.
        """

    @abstractmethod
    def measure(
        self,
        model: ResponseLogprobs,
        rows: Sequence[AnyRow],
        spec: TrainSpec,
        token_budget: TokenBudget | int,
        accelerator: Accelerator | None = None,
    ) -> Measured:
        """Compute rows with the same function as their reference.

        Args:
            accelerator: of the processes that divide the work; None computes everything in this one.
        """
