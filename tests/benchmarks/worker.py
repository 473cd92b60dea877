"""One side's work of a benchmark, in a process of its own: started by `run.py`, it does a round per line of input.

Arguments: the benchmark's module, the side, its options as JSON, an empty folder. It prints lines of JSON: `null` when
it is ready, then the results of each round, and at the end of its input its peak memory.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

MEBIBYTE = 2**20


def main() -> None:
    module, way, options, folder = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), Path(sys.argv[4])
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what libraries print is not part of the answer

        def answer(content: Any) -> None:
            print(json.dumps(content), file=answers, flush=True)

        with contextlib.ExitStack() as stack:
            work = importlib.import_module(module).prepare(way, options, folder, stack)
            answer(None)
            for _ in sys.stdin:
                answer(work())
        answer(peak_mb(options.get("device", "cpu")))


def peak_mb(device: str) -> float:
    """Peak memory in MiB: allocated on the GPU, or resident in this process and its largest child."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / MEBIBYTE
    held = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(held) / 1024  # Linux reports KiB


if __name__ == "__main__":
    main()
