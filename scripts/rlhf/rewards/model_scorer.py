"""Scorers that are reward models: where the model is, and for decoders how it scores in packs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from rlhf.base.settings import LONGEST_CONTEXT, Precision
from rlhf.rewards.scorer import Conversation, Score, Scorer, ScoringJob

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from rlhf.rewards.models.packed_scoring import RewardModel

OTHER_FORM = (
    "put the model's template there; a reward model that reads prompt and response in another form takes a reward kind "
    "of its own, a file as in CONTRIBUTING.md under 'A reward kind'"
)
"""What to do where a reward model has no chat template."""


class ModelScorer(Scorer):
    """A reward model from the hub or a local folder."""

    model: str = Field(min_length=1)
    """Hub name, local folder, or `{results}/...` for a model that a rule of the experiment makes."""
    revision: str | None = None
    """Commit of the hub repository; null takes the newest and records it."""
    max_tokens: int = Field(4096, ge=2, le=LONGEST_CONTEXT)
    """Maximum length of a conversation in tokens; a longer one gets no reward and is never part of a pair."""
    precision: Precision = "bfloat16"
    """Dtype of the backbone; heads and scores are always float32."""


class PackedScorer(ModelScorer):
    """A decoder that reads conversations in its own chat template."""

    @abstractmethod
    def load(
        self, name: str, revision: str | None, tokenizer: PreTrainedTokenizerBase, device: torch.device
    ) -> RewardModel:
        """Load the reward model from a folder or the hub onto `device`.

        Raises:
            UserError: there is none, or it is not of this kind.
        """

    def score(self, conversations: Sequence[Conversation], job: ScoringJob) -> tuple[list[Score], dict[str, Any]]:
        from rlhf.machine.budgets import forward_budget
        from rlhf.machine.device import granted_device
        from rlhf.machine.memory import scoring_memory
        from rlhf.machine.model_shapes import known_shape
        from rlhf.models.source import model_location, resolved_revision
        from rlhf.models.tokenizers import check_vocabulary, load_tokenizer
        from rlhf.rewards.models.packed_scoring import score_conversations

        location = model_location(job.folder, job.source, job.revisions)
        device = granted_device(job.gpus, job.threads)
        tokenizer = load_tokenizer(*location, without_template=OTHER_FORM)
        check_vocabulary(tokenizer, *location)
        shape = known_shape(*location)
        memory = None if shape is None else partial(scoring_memory, shape, self.precision)
        budget = forward_budget(job.token_budget, device, memory, self.max_tokens, "max_tokens")
        model = self.load(*location, tokenizer, device)
        max_tokens = min(self.max_tokens, model.longest)
        scores = score_conversations(model, device, tokenizer, conversations, max_tokens, budget, job.progress)
        return scores, {"objectives": list(model.objective_names), "model_revision": resolved_revision(*location)}
