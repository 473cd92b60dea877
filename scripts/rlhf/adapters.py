"""Low-rank adapters (LoRA): what is trained in place of a policy's matrices, and merged into them at the end.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlhf.training import LoraSettings

if TYPE_CHECKING:
    from peft import LoraModel
    from transformers import PreTrainedModel


def add_adapters(policy: PreTrainedModel, settings: LoraSettings) -> LoraModel:
    """Put adapters into a policy, in place: its own weights are frozen, and its outputs are what they were."""
    from peft import LoraConfig, LoraModel

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=settings.targets if settings.targets == "all-linear" else list(settings.targets),
        lora_dropout=0.0,
    )
    return LoraModel(policy, config, "default")
