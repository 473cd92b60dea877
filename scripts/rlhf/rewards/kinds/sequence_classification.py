"""Reward models that are sequence classifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from rlhf.base.settings import Precision
from rlhf.rewards.model_scorer import PackedScorer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from rlhf.rewards.models.packed_scoring import RewardModel


class SequenceClassificationSettings(PackedScorer):
    """A decoder with a linear head of one output (`AutoModelForSequenceClassification`); the score is its raw logit."""

    kind: Literal["sequence_classification"]
    """A sequence classifier."""
    model: str = Field(min_length=1)
    """Hub name or local folder."""
    precision: Precision = "bfloat16"
    """Dtype of the decoder; the head and scores are always float32."""

    def load(
        self, name: str, revision: str | None, tokenizer: PreTrainedTokenizerBase, device: torch.device
    ) -> RewardModel:
        from rlhf.rewards.models.sequence_classifier import load_sequence_classifier

        return load_sequence_classifier(name, revision, self.precision, device)
