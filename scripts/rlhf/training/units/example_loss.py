"""The interface of a loss of examples: its settings, and a value per example."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rlhf.training.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from rlhf.examples.schema import Example
    from rlhf.training.units.unit import Unit


@dataclass(frozen=True)
class ExampleBatch:
    """What a loss can read of a batch of examples; tensors are of shape (batch,), and float32 but for `desirable`.

    Log-probabilities are summed over the response's tokens, at the sampling temperature.
    """

    logprob: Tensor
    reference_logprob: Tensor
    desirable: Tensor
    """Bool."""
    reference_point: float
    """z: how far the policy is from its reference, over the whole batch. A number, so that no gradient goes through."""

    @property
    def logratio(self) -> Tensor:
        """r = log pi(y | x) - log pi_ref(y | x)"""
        return self.logprob - self.reference_logprob


class ExampleLoss(Loss):
    """A loss of examples, each a response that is desirable or undesirable, and its value."""

    unpaired: ClassVar[bool] = True
    needs_rejected: ClassVar[bool] = False
    margin_meaning: ClassVar[str] = "log-ratio above the reference point if desirable, below it if undesirable"

    @classmethod
    def unit(cls) -> Unit[Example]:
        from rlhf.training.units.examples import ExampleUnit  # the workflow reads the settings without torch

        return ExampleUnit()

    @abstractmethod
    def loss(self, batch: ExampleBatch) -> Tensor:
        """The optimised loss of each example, float32 (batch,)."""
