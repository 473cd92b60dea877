"""Strategy `zero3`: DeepSpeed's configuration, and its preparation on CPUs."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import DeepSpeedPlugin
from filelock import FileLock

from rlhf.base.settings import Precision


def zero3_plugin(file: Mapping[str, Any], precision: Precision, max_grad_norm: float | None) -> DeepSpeedPlugin:
    """DeepSpeed's configuration: a file, and what the experiment sets.

    Args:
        file: content of `config/accelerate/zero3.yaml`.
    """
    experiment: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,  # a required key: micro-batches are cut by tokens here
        "gradient_accumulation_steps": 1,  # otherwise it divides the loss
        "gradient_clipping": max_grad_norm or 0.0,
        "torch_autocast": {"enabled": precision == "bfloat16", "dtype": "bfloat16"},
        "zero_allow_untested_optimizer": True,
    }
    return DeepSpeedPlugin(hf_ds_config={**file, **experiment}, zero3_init_flag=True)


def prepare_deepspeed(*, cpu: bool) -> None:
    """Keep DeepSpeed on the CPU if asked to (it takes any GPU that it sees), and quiet its log."""
    if cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        os.environ["DS_ACCELERATOR"] = "cpu"
        _compile_communication()
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", "`torch.distributed.*is deprecated", FutureWarning)  # one for each call


def _compile_communication() -> None:
    """Compile DeepSpeed's shared-memory communication for CPUs, once for the torch of this environment.

    A compilation that was killed leaves a lock file behind, which all later ones would wait for. So only the holder of
    a lock of our own compiles, and it removes that file first.
    """
    from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder  # type: ignore[import-untyped]

    builder = ShareMemCommBuilder()
    if not builder.is_compatible(verbose=False):
        return
    folder = Path(os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(Path(sys.prefix) / "torch_extensions")))
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{builder.name}.lock"):
        (folder / builder.name / "lock").unlink(missing_ok=True)
        builder.load(verbose=False)
