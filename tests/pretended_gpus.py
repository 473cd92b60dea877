"""A machine with GPUs, as far as nvidia-smi goes."""

import os
import uuid
from pathlib import Path


def pretend_gpus(folder: Path, count: int) -> dict[str, str]:
    """Environment variables for a process that is to see so many GPUs, with UUIDs of their own."""
    lines = [f"GPU-{uuid.uuid4()}, {index}" for index in range(count)]
    program = folder / "nvidia-smi"
    program.write_text("\n".join(["#!/bin/sh", "cat <<END", *lines, "END", ""]))
    program.chmod(0o755)
    shown = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    return {**shown, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
