"""Read the data of a training in one or several processes, use all of it once, and print what it took.

Arguments: the number of processes, the files of the pairs, the files of their log-probabilities.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from rlhf.training.data import read_pairs
from rlhf.training.processes.shared_table import once_per_machine
from rlhf.training.processes.strategies import make_accelerator
from rlhf.training.settings import RecipeSettings, TrainSpec

RECIPE = RecipeSettings().model_dump()
LINEAGE = dict.fromkeys(("base_model", "parent", "dataset"), "")
SPEC = {
    **{"seed": 1, "policy": "dpo-1", "model": None, "lineage": LINEAGE},
    **{"precision": "bfloat16", "temperature": 0.8, "recipe": RECIPE},
}


def held() -> dict[str, float]:
    """Megabytes of this process: its own, and its share of what it has in common with others (PSS)."""
    found = psutil.Process().memory_full_info()
    return {"pss_mb": round(found.pss / 1e6), "rss_mb": round(found.rss / 1e6), "own_mb": round(found.uss / 1e6)}


def main() -> None:
    processes = int(sys.argv[1])
    if processes > 1 and "LOCAL_RANK" not in os.environ:
        from torch.distributed.run import main as run_processes

        run_processes([f"--nproc-per-node={processes}", "--standalone", *sys.argv])
        return
    files = [Path(path) for path in sys.argv[2:]]
    pair_files, logprob_files = files[: len(files) // 2], files[len(files) // 2 :]
    loss = {"name": "dpo", "beta": 0.1, "label_smoothing": 0.0}
    spec = TrainSpec.model_validate({**SPEC, "loss": loss})
    accelerator = make_accelerator("ddp" if processes > 1 else "single", processes, "float32", None, cpu=True)
    before = held()
    pairs = read_pairs(pair_files, logprob_files, spec, partial(once_per_machine, accelerator=accelerator))
    groups = (pair.prompt_group for pair in pairs)
    total = sum(int(np.sum(ids)) for group in groups for ids in (group.prompt, *group.responses))
    accelerator.wait_for_everyone()
    after = held()
    accelerator.wait_for_everyone()
    per_pair = round((after["pss_mb"] - before["pss_mb"]) * 1000 / len(pairs), 2)
    print(json.dumps({"pairs": len(pairs), "sum": total, "kb_per_pair": per_pair, **after}), flush=True)


if __name__ == "__main__":
    main()
