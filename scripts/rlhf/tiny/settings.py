"""The `tiny` section of an experiment's configuration, and what each program of the tiny world gets of it."""

from operator import not_

from pydantic import Field, model_validator

from rlhf.base.settings import Settings

CONTEXT = 512
"""Longest sequence of the tiny models, in tokens."""


class NetworkSettings(Settings):
    """Shape of the tiny Llama, for the policy and the backbone of the reward model."""

    hidden_size: int = Field(128, ge=16, le=4096, multiple_of=16)
    """Width."""
    intermediate_size: int = Field(256, ge=16, le=16_384)
    """Width inside the feed-forward layers."""
    layers: int = Field(2, ge=1, le=100)
    """Transformer layers."""
    heads: int = Field(4, ge=1, le=256)
    """Attention heads; they divide the width into an even number for each."""

    @model_validator(mode="after")
    def _check_heads(self) -> "NetworkSettings":
        if self.hidden_size % (2 * self.heads):
            fitting = [str(heads) for heads in range(1, self.hidden_size) if self.hidden_size % (2 * heads) == 0]
            raise ValueError(
                f"heads: {self.heads} attention heads do not divide hidden_size {self.hidden_size} into an even number "
                f"for each; allowed: {', '.join(fitting)}"
            )
        return self


class LearningSettings(Settings):
    """One stage of AdamW training, with a short warm-up and cosine decay to zero."""

    steps: int = Field(ge=0, le=1_000_000)
    """Optimizer steps; 0 leaves the weights as they were."""
    batch_size: int = Field(32, ge=1, le=100_000)
    """Conversations per step."""
    learning_rate: float = Field(ge=1e-12, le=1)
    """Peak learning rate."""


class MixtureSettings(LearningSettings):
    """The second training stage of the policy: responses of mixed quality, so that something is left to learn."""

    correct: float = Field(0.55, ge=0, le=1)
    """Share of right answers among those that the policy learns from."""


class RewardModelSettings(LearningSettings):
    """Training of the reward model."""

    gate_steps: int = Field(150, ge=0, le=1_000_000)
    """Steps of the gate's training on preferences, with a frozen backbone."""


class TinySettings(Settings):
    """The embedded tiny world: a dataset of prompts, a policy and a reward model, all made by rules."""

    prompts: int = Field(2600, ge=2, le=5000)
    """Prompts of the dataset. The models learn from the grammar's other prompts."""
    vocabulary_size: int = Field(1536, ge=320, le=100_000)
    """Tokens of the tokenizer, special tokens included."""
    thoughts: bool = False
    """Whether the policy is a reasoning model, which begins its responses with a thought: `<think>`, the right answer,
    `</think>`. The reward model knows none: set `responses.hide`."""
    network: NetworkSettings = NetworkSettings()
    """Shape of the policy and of the reward model's backbone."""
    pretraining: LearningSettings = LearningSettings(steps=600, learning_rate=3.0e-3)
    """First stage: clean answers. The policy and the reward model both start from here."""
    mixture: MixtureSettings = MixtureSettings(steps=250, learning_rate=2.0e-3)
    """Second stage of the policy."""
    reward_model: RewardModelSettings = RewardModelSettings(steps=380, learning_rate=2.0e-3)
    """How the reward model is trained."""


class PromptsSpec(Settings):
    """What `make_tiny_prompts` reads."""

    seed: int
    """The experiment's seed."""
    prompts: int
    """Number of prompts."""


class TokenizerSpec(Settings):
    """What `train_tiny_tokenizer` reads."""

    seed: int
    """The experiment's seed."""
    vocabulary_size: int
    """Tokens, special tokens included."""
    thoughts: bool = Field(False, exclude_if=not_)
    """Whether the marks around thoughts are tokens."""


class PretrainSpec(Settings):
    """What `pretrain_tiny_policy` reads."""

    seed: int
    """The experiment's seed."""
    prompts: int
    """Prompts of the dataset, which are not learnt from."""
    network: NetworkSettings
    """Shape."""
    learning: LearningSettings
    """First stage."""
    thoughts: bool = Field(False, exclude_if=not_)
    """Whether responses begin with thoughts."""


class PolicySpec(Settings):
    """What `train_tiny_policy` reads."""

    seed: int
    """The experiment's seed."""
    prompts: int
    """Prompts of the dataset, which are not learnt from."""
    learning: MixtureSettings
    """Second stage."""
    thoughts: bool = Field(False, exclude_if=not_)
    """Whether responses begin with thoughts."""


class RewardModelSpec(Settings):
    """What `train_tiny_reward_model` reads."""

    seed: int
    """The experiment's seed."""
    prompts: int
    """Prompts of the dataset, which are not learnt from."""
    learning: RewardModelSettings
    """Regression and gate."""
