"""Pairs per second of `train_policy` itself: two processes of one thread each (DDP) against one of one thread."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from preference_pairs import random_policy, the_pairs, training_spec
from rlhf.pairs.schema import PAIR_COLUMNS, PAIRS
from small_models import SCRIPTS
from small_tokenizers import small_tokenizer

WAYS = {"tutorial": ("--processes", "1", "--strategy", "single"), "pipeline": ("--processes", "2", "--strategy", "ddp")}


def prepare(way: str, options: dict[str, Any], folder: Path, stack: contextlib.ExitStack) -> Callable[[], Any]:
    """Write policy and pairs as the rule gives them; a loss without a reference needs no log-probabilities."""
    pairs = the_pairs(options)
    texts = {"chosen": "", "rejected": "", "chosen_draw": 0, "rejected_draw": 1}
    rows = [{**{name: getattr(pair, name) for name in PAIR_COLUMNS}, **texts} for pair in pairs]
    PAIRS.write(folder / "pairs.parquet", rows, {})
    PAIRS.write(folder / "no-pairs.parquet", [], {})
    random_policy(options, torch.device("cpu")).save_pretrained(folder / "policy")
    small_tokenizer().save_pretrained(folder / "policy")
    spec = training_spec(options).model_dump()
    spec["loss"] = {"name": "simpo", "beta": 10.0, "gamma": 3.0}
    spec["recipe"]["batch_size"] = options["batch_size"]
    command = [sys.executable, str(SCRIPTS / "train_policy.py"), "--spec", json.dumps(spec), *WAYS[way]]
    command += ["--policy", str(folder / "policy"), "--pairs", str(folder / "pairs.parquet")]
    command += ["--validation-pairs", str(folder / "no-pairs.parquet"), "--threads", "1"]
    command += ["--checkpoint", str(folder / "made/checkpoint"), "--metrics", str(folder / "made/training.parquet")]

    def work() -> dict[str, Any]:
        done = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)
        lines = re.findall(rf" {len(rows)} of {len(rows)} pairs, ([\d.]+) pairs/s.*, tokens (\d+) ", done.stderr)
        assert len(lines) == 1, done.stderr
        return {"seconds": len(rows) / float(lines[0][0]), "tokens": int(lines[0][1]), "pairs": len(rows)}

    return work
