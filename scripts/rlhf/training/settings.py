"""Training of a policy on preference pairs: a recipe, its loss, and what `train_policy` reads."""

from typing import Annotated, Literal

from pydantic import Field

from rlhf.base.errors import UserError
from rlhf.base.settings import GivenText, Precision, Settings
from rlhf.machine.choices import Strategy
from rlhf.models.source import ModelSource
from rlhf.training.loss import PairLoss

SAVED_STATES = "training_state"
"""The folder beside a checkpoint from which a killed training goes on."""


class LoraSettings(Settings):
    """Low-rank adapters: small matrices that are trained in place of the policy's, and merged into it at the end.

    The checkpoint keeps them by themselves too, in `adapter/`, for PEFT.
    """

    rank: int = Field(64, ge=1, le=65_536)
    """Width of the adapters."""
    alpha: int = Field(64, ge=1, le=1_000_000)
    """An adapter's product counts `alpha / rank`."""
    targets: Literal["all-linear"] | Annotated[list[GivenText], Field(min_length=1)] = "all-linear"
    """Names of the matrices that get one (`q_proj`, ...); `all-linear`: every one of the layers."""


class RecipeSettings(Settings):
    """Optimizer, schedule and length of one training run."""

    epochs: int = Field(1, ge=1, le=10_000)
    """Passes over the pairs."""
    pairs: int | None = Field(None, ge=1, le=1_000_000_000)
    """Number of pairs to train on, in whole batches, instead of `epochs`; they start over where there are fewer."""
    batch_size: int = Field(128, ge=1, le=1_000_000)
    """Pairs per optimizer step, whatever the number of processes."""
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    """`adamw_8bit` keeps AdamW's moments in 8 bits (bitsandbytes), for strategies `single` and `ddp`."""
    learning_rate: float = Field(3.0e-7, ge=1e-12, le=1)
    """Peak learning rate of AdamW: about what a weight moves in a step, so that above 1 nothing of the policy is left,
    and below 1e-12 float32 weights stay as they are."""
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of the first moment."""
    adam_beta2: float = Field(0.95, ge=0, lt=1)
    """Decay of the second moment."""
    adam_epsilon: float = Field(1.0e-8, ge=1e-30, le=1)
    """Added to the root of the second moment; float32 holds nothing much smaller, and above 1 nothing learns."""
    weight_decay: float = Field(1.0e-6, ge=0, le=100)
    """Decoupled weight decay: a step takes `learning_rate` times this share from each weight."""
    warmup: float = Field(0.1, ge=0, le=1)
    """Share of the steps with linear warm-up; a cosine to zero follows."""
    max_grad_norm: float | None = Field(None, ge=1e-6)
    """Clip the norm of the gradient of the optimised loss (REBEL's is divided by eta); null: no clipping."""
    lora: LoraSettings | None = None
    """Train low-rank adapters; null trains all weights."""
    validation_interval: int = Field(200, ge=1, le=1_000_000_000)
    """Optimizer steps between two validations; there is one at the start and one at the end in any case."""


def check_optimizer(recipe: RecipeSettings, strategy: Strategy) -> None:
    """Raise UserError where a strategy cannot shard the moments of an optimizer."""
    if recipe.optimizer == "adamw_8bit" and strategy not in ("single", "ddp"):
        raise UserError(f"optimizer adamw_8bit goes with the strategies single and ddp; {strategy} cuts its moments")


class TrainingSettings(RecipeSettings):
    """What all variants share; a variant may set any of these keys differently."""

    iterations: int = Field(1, ge=1, le=1000)
    """Rounds of generate, score, pair, train. May grow: training goes on from what exists. Each is a policy with a
    checkpoint of its own: a thousand fill any disk."""


class Lineage(Settings):
    """Where a policy comes from, for its model card."""

    base_model: str
    """The model that the first policy of the experiment is."""
    parent: str
    """The policy that it starts from and whose responses it learns from."""
    dataset: str
    """Of the prompts."""


class TrainSpec(Settings):
    """What `train_policy` reads."""

    seed: int
    """Seed of the order of the pairs."""
    policy: str
    """The name of the policy that is made."""
    lineage: Lineage
    """Where it comes from."""
    model: ModelSource | None
    """The parent; null where --policy gives its folder."""
    precision: Precision
    """Type of the computation, the same as of the reference log-probabilities; the weights are float32."""
    temperature: float
    """Logits are divided by it, as in sampling."""
    loss: PairLoss
    """The loss."""
    recipe: RecipeSettings
    """Optimizer, schedule and length."""
