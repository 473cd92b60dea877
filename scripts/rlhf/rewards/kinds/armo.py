"""Reward models with the architecture of ArmoRM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from rlhf.rewards.model_scorer import PackedScorer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from rlhf.rewards.models.packed_scoring import RewardModel


class ArmoSettings(PackedScorer):
    """A reward model with the architecture of ArmoRM: objectives, weighted by a gate that reads the prompt."""

    kind: Literal["armo"] = "armo"
    """ArmoRM, or a model with its architecture."""
    model: str = Field("RLHFlow/ArmoRM-Llama3-8B-v0.1", min_length=1)
    """Hub name, local folder, or `{results}/...` for a model that a rule of the experiment makes."""

    def load(
        self, name: str, revision: str | None, tokenizer: PreTrainedTokenizerBase, device: torch.device
    ) -> RewardModel:
        from rlhf.rewards.models.armo_scorer import load_armo

        return load_armo(name, revision, self.precision, tokenizer, device)
