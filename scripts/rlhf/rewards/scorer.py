"""The contract of scorers.

A *score* is what one scorer gives a response. A *reward* is what training sees: the score, if there is one scorer,
or a combination of several scores (`kinds/combined.py`). Programs write both as rows of `REWARDS`.

A scorer is a subclass of `Scorer` in a module of `rlhf.rewards.kinds`, named like its `kind`:

- *It gets* the conversations of a part: prompt and response as plain texts, without a chat template, in the order of
  the responses' file. Conversations may repeat, and a response may be empty. Responses are without what
  `responses.hide` hides.
- *It returns* one `Score` per conversation, in the same order. A score depends on its own conversation alone, or on the
  responses to the same prompt (`compares_draws`), which are in one part; so part sizes do not matter. Equal
  conversations have equal scores.
- *A response without a score* is `Score(None, reason)`. It is counted by its reason, and becomes part of no pair.
- *Errors*: what the user can fix is a `UserError` that says what to do. Any other exception is a bug and ends the
  program with a traceback; the part is not written, and other parts are kept.
- *Imports*: the workflow imports the module for every plan. At module level it imports the standard library, pydantic
  and what this file imports; torch, transformers and the like are imported inside its methods.
- *Reruns*: the digest of scoring holds the modules in `modules` and what they import from this project, inside methods
  too. Settings are part of the rule's `spec`; the files in `files` are inputs of the rule.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rlhf.base.choices import Choice
from rlhf.datasets.conversations import Messages, as_turns
from rlhf.machine.choices import BudgetChoice
from rlhf.models.source import ModelSource
from rlhf.prompts.schema import NOTHING_KEPT

if TYPE_CHECKING:
    from rlhf.machine.progress import Progress

KINDS = "rlhf.rewards.kinds"


@dataclass(frozen=True)
class Conversation:
    """A prompt and a response to it."""

    messages: Messages
    """The prompt: role and content of each turn, the system prompt included; the user's turn last."""
    response: str
    finish_reason: str = "stop"
    """`stop`, or `length` if it was truncated."""
    kept: str = NOTHING_KEPT
    """JSON object of the columns that the prompt keeps of its dataset (`prompts.keep`)."""

    @property
    def prompt(self) -> str:
        """The last user turn."""
        return self.messages[-1][1]

    @property
    def transcript(self) -> str:
        """The prompt for a reader: the text alone of a single user turn, else all turns under their roles."""
        if len(self.messages) == 1:
            return self.prompt
        return "\n\n".join(f"[{role}]\n{content}" for role, content in self.messages)

    @property
    def columns(self) -> dict[str, Any]:
        """The kept columns."""
        found: dict[str, Any] = json.loads(self.kept)
        return found

    @property
    def record(self) -> dict[str, Any]:
        """For functions and servers of the user: `prompt` as messages, `response`, `finish_reason`, kept columns."""
        messages = as_turns(self.messages)
        return {"prompt": messages, "response": self.response, "finish_reason": self.finish_reason, **self.columns}


@dataclass(frozen=True)
class Score:
    """The score of one response, or the reason why it has none."""

    value: float | None
    """Finite as float32; None for no score."""
    invalid: str | None = None
    """Why there is no score, a short identifier such as `too_long`; None if and only if there is one."""
    objectives: list[float] | None = None
    """What the score is mixed of, in the order of the fact `objectives`; None where a scorer has no objectives."""


@dataclass(frozen=True)
class ScoringJob:
    """What a scorer gets from the command line, beside its settings."""

    progress: Progress
    """Advance it by the number of conversations scored."""
    gpus: int
    """0 means the CPU."""
    threads: int
    """Compute threads."""
    token_budget: BudgetChoice
    """Tokens per forward pass."""
    folder: Path | None
    """Folder of the reward model, if a flag names one; it overrides `source`."""
    source: ModelSource | None
    """The reward model of the settings; None for scorers without a model."""
    revisions: Path | None
    """File with the commits of hub repositories that the experiment pins."""
    reference: Sequence[Conversation]
    """Conversations of `base` with the same prompts, for test responses of other policies if scores compare draws."""
    journal: Path | None
    """Folder for answers that are paid for; None keeps them in memory."""


class RewardSettings(Choice):
    """How responses are rewarded."""

    package: ClassVar[str] = KINDS
    key: ClassVar[str] = "kind"

    kind: str
    """Name of the kind, and of its module."""


class Scorer(RewardSettings):
    """A reward model, function or server that scores responses. The contract is at the top of this file."""

    package: ClassVar[str] = KINDS

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules that compute the scores: its own, and the user's where the settings name one."""
        return (self.module,)

    @property
    def compares_draws(self) -> bool:
        """Whether a score depends on the other responses to its prompt: across policies it says something only where
        the job has a reference."""
        return False

    @property
    def files(self) -> tuple[str, ...]:
        """The user's files that the scores depend on."""
        return ()

    @property
    def kept_columns(self) -> Mapping[str, str]:
        """The columns of records that it reads, by the keys that name them; `prompts.keep` must name them too."""
        return {}

    @abstractmethod
    def score(self, conversations: Sequence[Conversation], job: ScoringJob) -> tuple[list[Score], dict[str, Any]]:
        """Score conversations.

        Returns:
            One score per conversation, in order, and facts for the provenance, of JSON's types: `objectives` (their
            names), `model_revision` (the resolved commit), `judging` and `grading` (what a judge's scorer, or one that
            checks, counted, which is logged too), `libraries` (name -> version) where there are any, else nothing.

        Raises:
            UserError: the model, function or server cannot be used; says what to do.
        """
