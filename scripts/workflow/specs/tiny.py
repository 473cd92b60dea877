"""The settings of the programs that make the tiny world."""

from __future__ import annotations

from dataclasses import dataclass

from rlhf.tiny.settings import PolicySpec, PretrainSpec, PromptsSpec, RewardModelSpec, TinySettings, TokenizerSpec


@dataclass(frozen=True)
class TinySpecs:
    """The settings of one tiny world's programs."""

    seed: int
    tiny: TinySettings

    def make_tiny_prompts(self) -> PromptsSpec:
        return PromptsSpec(seed=self.seed, prompts=self.tiny.prompts)

    def train_tiny_tokenizer(self) -> TokenizerSpec:
        return TokenizerSpec(seed=self.seed, vocabulary_size=self.tiny.vocabulary_size, thoughts=self.tiny.thoughts)

    def pretrain_tiny_policy(self) -> PretrainSpec:
        tiny = self.tiny
        return PretrainSpec(
            seed=self.seed,
            prompts=tiny.prompts,
            network=tiny.network,
            learning=tiny.pretraining,
            thoughts=tiny.thoughts,
        )

    def train_tiny_policy(self) -> PolicySpec:
        tiny = self.tiny
        return PolicySpec(seed=self.seed, prompts=tiny.prompts, learning=tiny.mixture, thoughts=tiny.thoughts)

    def train_tiny_reward_model(self) -> RewardModelSpec:
        return RewardModelSpec(seed=self.seed, prompts=self.tiny.prompts, learning=self.tiny.reward_model)
