"""Strategy `fsdp2`: accelerate's configuration of PyTorch's FSDP2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import FullyShardedDataParallelPlugin
from torch.distributed.fsdp import MixedPrecisionPolicy


def fsdp2_plugin(file: Mapping[str, Any]) -> FullyShardedDataParallelPlugin:
    """FSDP2's configuration, with everything that its processes send each other in float32.

    By default accelerate computes, reduces and returns in bfloat16: log-probabilities of -501.503 would come back as
    -502. Here weights are gathered in float32, and autocast makes the matrix products bfloat16, as it does for one
    process and in `compute_logprobs`. Gathering in bfloat16 would also round embeddings, norms and the residual stream,
    and the log-ratios at step 0 would not be zero. It would halve the bytes of a gather, which for 8B parameters takes
    a tenth of a second per pass over NVLink, hidden behind a second of computing.

    Args:
        file: content of `config/accelerate/fsdp2.yaml`.
    """
    types = MixedPrecisionPolicy(
        param_dtype=torch.float32, reduce_dtype=torch.float32, output_dtype=torch.float32, cast_forward_inputs=False
    )
    return FullyShardedDataParallelPlugin(**file, mixed_precision_policy=types)
