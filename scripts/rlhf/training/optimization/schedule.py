"""What each optimizer step trains on, and at which learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf.training.data import epoch_order
from rlhf.training.settings import RecipeSettings
from rlhf.training.units.unit import AnyRow


@dataclass(frozen=True)
class Schedule:
    """The optimizer steps of a training, numbered from 1.

    Args:
        rows: number of prompts with pairs, or of examples, in the training data.
        seed: of their order.
    """

    recipe: RecipeSettings
    rows: int
    seed: int

    @property
    def batch_size(self) -> int:
        """Rows per step: all of them where they do not fill a batch."""
        return min(self.recipe.batch_size, self.rows)

    @property
    def steps_per_epoch(self) -> int:
        """The rows that do not fill the last batch of an epoch are dropped."""
        return max(1, self.rows // self.recipe.batch_size)

    @property
    def steps(self) -> int:
        """Number of the last step."""
        if self.recipe.pairs is not None:
            return max(1, self.recipe.pairs // self.batch_size)
        return self.steps_per_epoch * self.recipe.epochs

    def epoch(self, step: int) -> float:
        """Epochs that are done after a step."""
        return step / self.steps_per_epoch

    def batch(self, rows: Sequence[AnyRow], step: int) -> list[AnyRow]:
        """The prompts with their pairs, or the examples, of a step; each epoch has an order of its own."""
        epoch, number = divmod(step - 1, self.steps_per_epoch)
        order, size = epoch_order(self.rows, self.seed, epoch), self.recipe.batch_size
        return [rows[index] for index in order[number * size : (number + 1) * size].tolist()]

    def learning_rate(self, step: int) -> float:
        """Linear warm-up over the first share of the steps, then a cosine to zero after the last one."""
        warmup = math.ceil(self.recipe.warmup * self.steps)
        if step <= warmup:
            return self.recipe.learning_rate * (step / warmup)
        done = (step - 1 - warmup) / (self.steps - warmup)
        return self.recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def validates_after(self, step: int) -> bool:
        return step % self.recipe.validation_interval == 0 or step == self.steps
