"""Training of a policy on preference pairs: settings of a recipe, and the schema of the training metrics."""

import pyarrow as pa
from pydantic import Field

from rlhf.artifacts import Artifact
from rlhf.losses import LossSettings
from rlhf.models import ModelSource, Precision
from rlhf.settings import Settings


class RecipeSettings(Settings):
    """Optimizer, schedule and length of one training run."""

    epochs: int = Field(1, ge=1)
    """Passes over the pairs."""
    batch_size: int = Field(128, ge=1)
    """Pairs per optimizer step, whatever the number of processes."""
    learning_rate: float = Field(3.0e-7, gt=0)
    """Peak learning rate of AdamW."""
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of the first moment."""
    adam_beta2: float = Field(0.95, ge=0, lt=1)
    """Decay of the second moment."""
    adam_epsilon: float = Field(1.0e-8, gt=0)
    """Added to the root of the second moment."""
    weight_decay: float = Field(1.0e-6, ge=0)
    """Decoupled weight decay."""
    warmup: float = Field(0.1, ge=0, le=1)
    """Share of the steps with linear warm-up; a cosine to zero follows."""
    max_grad_norm: float | None = Field(None, gt=0)
    """Clip the norm of the gradient of the optimised loss (REBEL's is divided by eta); null: no clipping."""
    validation_interval: int = Field(200, ge=1)
    """Optimizer steps between two validations; there is one at the start and one at the end in any case."""


class TrainingSettings(RecipeSettings):
    """What all variants share; a variant may set any of these keys differently."""

    iterations: int = Field(1, ge=1)
    """Rounds of generate, score, pair, train. May grow: training goes on from what exists."""


class VariantSettings(TrainingSettings):
    """A training recipe by name: its loss, and the keys of `training` that differ."""

    loss: LossSettings
    """The loss and its hyperparameters."""


class TrainSpec(Settings):
    """What `train_policy` reads."""

    seed: int
    """Seed of the order of the pairs."""
    policy: str
    """The name of the policy that is made."""
    model: ModelSource | None
    """The parent; null where --policy gives its folder."""
    precision: Precision
    """Type of the computation, the same as of the reference log-probabilities; the weights are float32."""
    temperature: float
    """Logits are divided by it, as in sampling."""
    loss: LossSettings
    """The loss."""
    recipe: RecipeSettings
    """Optimizer, schedule and length."""


TRAINING = Artifact(
    "training",
    pa.schema(
        [
            pa.field("step", pa.int32(), nullable=False),
            pa.field("epoch", pa.float32(), nullable=False),
            pa.field("loss", pa.float32()),
            pa.field("validation_loss", pa.float32()),
            pa.field("sign_agreement", pa.float32()),
            pa.field("reward_gap", pa.float32()),
            pa.field("chosen_logratio", pa.float32()),
            pa.field("rejected_logratio", pa.float32()),
            pa.field("learning_rate", pa.float32()),
            pa.field("grad_norm", pa.float32()),
            pa.field("tokens", pa.int64()),
        ]
    ),
    key=("step",),
)
