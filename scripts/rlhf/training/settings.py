"""Settings of a training: recipe, loss, and what `train_policy` reads."""

from operator import not_
from typing import Annotated, Literal

from pydantic import Field

from rlhf.base.errors import UserError
from rlhf.base.settings import GivenText, Precision, Settings
from rlhf.machine.choices import Strategy
from rlhf.models.source import ModelSource
from rlhf.training.loss import Loss, PairLoss

SAVED_STATES = "training_state"
"""The folder beside a checkpoint from which a killed training resumes."""


def is_none(value: object) -> bool:
    """Whether a key is at its default, and so not part of the JSON."""
    return value is None


def is_prompts(value: object) -> bool:
    """Whether a key is at its default, and so not part of the JSON."""
    return value == "prompts"


class LoraSettings(Settings):
    """Low-rank adapters: small matrices that are trained instead of the policy's own, and merged into it at the end.

    The checkpoint also keeps them unmerged, in `adapter/`, in PEFT's format.
    """

    rank: int = Field(64, ge=1, le=65_536)
    """Rank of the adapters."""
    alpha: int = Field(64, ge=1, le=1_000_000)
    """Adapters are scaled by `alpha / rank`."""
    targets: Literal["all-linear"] | Annotated[list[GivenText], Field(min_length=1)] = "all-linear"
    """Names of the matrices to adapt (`q_proj`, ...); `all-linear` adapts every linear layer except the output head."""


class RecipeSettings(Settings):
    """Optimizer, schedule and length of a training."""

    epochs: int = Field(1, ge=1, le=10_000)
    """Passes over the training pairs, or examples if the loss learns from those."""
    pairs: int | None = Field(None, ge=1, le=1_000_000_000)
    """Number of training pairs (or examples), overriding `epochs`; rounded down to whole batches, cycling if the data
    runs out. With several pairs per prompt (`pairs.per_prompt`), the number of prompts, each with its pairs."""
    batch_size: int = Field(128, ge=1, le=1_000_000)
    """Pairs (or examples) per optimizer step, over all processes together. With several pairs per prompt, prompts per
    step, each with its pairs."""
    equal_weight: Literal["prompts", "pairs"] = Field("prompts", exclude_if=is_prompts)
    """What counts the same in the mean loss of a step where prompts have several pairs: `prompts`, whose pairs share
    the weight of their prompt, or `pairs`. With one pair per prompt there is no difference."""
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    """`adamw_8bit` keeps AdamW's moments in 8 bits (bitsandbytes); only with the strategies `single` and `ddp`."""
    learning_rate: float = Field(3.0e-7, ge=1e-12, le=1)
    """Peak learning rate. AdamW moves each weight by about this much per step: above 1 it destroys the policy, below
    1e-12 float32 weights do not change."""
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    """Decay rate of AdamW's first moment."""
    adam_beta2: float = Field(0.95, ge=0, lt=1)
    """Decay rate of AdamW's second moment."""
    adam_epsilon: float = Field(1.0e-8, ge=1e-30, le=1)
    """Added to the square root of the second moment. Much below 1e-30 float32 cannot represent it; above 1 updates
    vanish."""
    weight_decay: float = Field(1.0e-6, ge=0, le=100)
    """Decoupled weight decay: each step shrinks every weight by this fraction times the learning rate."""
    warmup: float = Field(0.1, ge=0, le=1)
    """Fraction of the steps with linear warm-up; cosine decay to zero follows."""
    max_grad_norm: float | None = Field(None, ge=1e-6)
    """Clip the gradient of the optimised loss to this norm (REBEL's loss is divided by eta); null disables clipping."""
    lora: LoraSettings | None = None
    """Train low-rank adapters; null trains all weights."""
    validation_interval: int = Field(200, ge=1, le=1_000_000_000)
    """Optimizer steps between validations; one at the start and one at the end are always done."""


def check_optimizer(recipe: RecipeSettings, strategy: Strategy) -> None:
    """Raise UserError if the strategy would shard an optimizer state that cannot be sharded."""
    if recipe.optimizer == "adamw_8bit" and strategy not in ("single", "ddp"):
        raise UserError(
            f"optimizer adamw_8bit works with the strategies single and ddp only; {strategy} shards the optimizer state"
        )


class IterationSettings(Settings):
    """What an iteration takes from earlier ones. The first has nothing to choose: all before it is `base`."""

    reference: Literal["parent", "base"] = "parent"
    """Whose log-probabilities are the reference of each iteration. With `base` they are those of the base model, which
    bounds how far the policies drift from it. A loss without a reference ignores it."""
    start: Literal["parent", "base"] = "parent"
    """Whose weights each iteration starts from."""
    pairs_of: Literal["current", "accumulated"] = "current"
    """`current`: each iteration is trained on the pairs of its parent. `accumulated`: on those of all iterations up to
    now, with log-probabilities under its own reference."""
    earlier_share: float | None = Field(None, ge=0.001, le=0.999)
    """Share of the training pairs that are from earlier iterations, with `pairs_of: accumulated`. As many pairs are
    taken as allow it; of the side that has too many, they are drawn by a hash. Null takes all pairs. A prompt is taken
    with all its pairs, so with several of them it is the share of the prompts."""


def mixed_counts(current: int, earlier: int, share: float) -> tuple[int, int]:
    """The most pairs of the current and of earlier iterations of which `share` are earlier ones, to the nearest pair.

    One of the two is taken whole.
    """
    if earlier * (1 - share) < current * share:
        return round(earlier * (1 - share) / share), earlier
    return current, round(current * share / (1 - share))


class TrainingSettings(RecipeSettings, IterationSettings):
    """What all variants share; a variant may override any of these keys."""

    iterations: int = Field(1, ge=1, le=1000)
    """Rounds of generate, score, pair, train. Raising it later continues from the last round. Each round leaves a
    policy with its own checkpoint on disk."""


class Lineage(Settings):
    """Where a policy comes from; for its model card."""

    base_model: str
    """The model that the experiment starts from."""
    parent: str
    """The policy of the iteration before: unless a key below says otherwise, training starts from it, has it as its
    reference, and learns from its responses."""
    dataset: str
    """The dataset of the prompts."""
    start: str | None = Field(None, exclude_if=is_none)
    """The policy that training starts from, if it is another one."""
    reference: str | None = Field(None, exclude_if=is_none)
    """The policy whose log-probabilities are the reference, if it is another one."""
    earlier: list[str] = Field([], exclude_if=not_)
    """Policies of earlier iterations whose pairs it learns from too."""
    responses_of: list[str] = Field([], exclude_if=not_)
    """Further policies whose responses are in the pairs."""
    imported: str | None = Field(None, exclude_if=is_none)
    """The dataset of the pairs of `base`, if it learns from them and they were imported."""

    @property
    def first_weights(self) -> str:
        """The policy that training starts from."""
        return self.start or self.parent

    @property
    def reference_policy(self) -> str:
        """The policy whose log-probabilities are the reference of a loss that needs one."""
        return self.reference or self.parent


class TrainSpec(Settings):
    """What `train_policy` reads."""

    seed: int
    """Seed of the order of the pairs."""
    policy: str
    """Name of the new policy."""
    lineage: Lineage
    """Where the new policy comes from."""
    model: ModelSource | None
    """The policy that training starts from; null if --policy gives its folder."""
    reference_model: ModelSource | None = Field(None, exclude_if=is_none)
    """The reference, if training starts from another policy and --reference gives no folder."""
    earlier_share: float | None = Field(None, exclude_if=is_none)
    """Share of the pairs that are from earlier iterations; null takes all pairs."""
    precision: Precision
    """Dtype of the computation, the same as for the reference log-probabilities; the trained weights are float32."""
    temperature: float
    """Sampling temperature: logits are divided by it."""
    loss: Loss
    """The loss and its hyperparameters."""
    recipe: RecipeSettings
    """Optimizer, schedule and length."""

    @property
    def starts_from_reference(self) -> bool:
        """Whether the reference is the policy that training starts from; true for a loss without a reference."""
        return not self.loss.needs_reference or self.lineage.first_weights == self.lineage.reference_policy

    @property
    def pair_loss(self) -> PairLoss:
        """The loss, where it is one of pairs."""
        assert isinstance(self.loss, PairLoss)
        return self.loss
