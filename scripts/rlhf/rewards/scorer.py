"""What a scorer is to the pipeline: settings that the configuration names by their `kind`, and a score per response.

Rewards come from one scorer, or from several combined (`kinds/combined.py`). *Reward* is what training sees, *score*
what one scorer gave.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rlhf.base.choices import Choice
from rlhf.machine.choices import BudgetChoice
from rlhf.models.source import ModelSource

if TYPE_CHECKING:
    from rlhf.machine.progress import Progress

KINDS = "rlhf.rewards.kinds"


@dataclass(frozen=True)
class Score:
    """The score of one response, or why it has none."""

    reward: float | None
    invalid: str | None = None
    objectives: list[float] | None = None


@dataclass(frozen=True)
class ScoringJob:
    """What a scorer works with beside its settings."""

    progress: Progress
    """Counts distinct conversations."""
    gpus: int
    """0 runs on the CPU."""
    threads: int
    """Compute threads."""
    token_budget: BudgetChoice
    """Tokens in one forward pass."""
    folder: Path | None
    """The reward model's, where a flag gives it."""
    source: ModelSource | None
    """The reward model, where none does."""
    revisions: Path | None
    """The experiment's file of commits."""


class RewardSettings(Choice):
    """How responses are rewarded."""

    package: ClassVar[str] = KINDS
    key: ClassVar[str] = "kind"

    kind: str
    """The name of the kind, and of its file."""


class Scorer(RewardSettings):
    """A reward model or a function: it scores responses, each for itself."""

    package: ClassVar[str] = KINDS

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules whose code makes the scores: its own, and one of the user's where it names one."""
        return (self.module,)

    @abstractmethod
    def scores(self, conversations: Sequence[tuple[str, str]], job: ScoringJob) -> tuple[list[Score], dict[str, Any]]:
        """Score (prompt, response) texts.

        Returns:
            The scores in the order of the conversations, and facts for the provenance.

        Raises:
            UserError: the model cannot be loaded, or the function fails; with what to do.
        """
