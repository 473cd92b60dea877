"""The Parquet file of the training metrics."""

import pyarrow as pa

from rlhf.base.artifacts import Artifact

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
"""Of a training on examples, `chosen` stands for the desirable and `rejected` for the undesirable ones of a batch, and
`sign_agreement` is the share of examples on their side of the reference point."""
