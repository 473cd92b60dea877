"""Measures groups of rows in a process of its own: started by `run.py`, prints a line of JSON per row."""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TextIO

import torch

from record import NO_GPU, Row
from tasks import Exam, carry_out


def main() -> None:
    names, options = sys.argv[1].split(","), json.loads(sys.argv[2])
    device = torch.device(options["device"], *([0] if options["device"] == "cuda" else []))
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit(NO_GPU)
    exam = Exam(device, options["small"], Path(options["folder"]), options["ends"])
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what libraries print is not part of the answer

        for name in names:
            module = importlib.import_module(f"{name}_rows")
            torch.set_num_threads(options["threads"])  # after the import: the tests' modules set one thread
            carry_out(module.tasks(exam), exam, functools.partial(report, name, answers))
    sys.stderr.flush()
    os._exit(0)  # at once: threads of a process group can abort an interpreter that is shutting down


def report(name: str, answers: TextIO, row: Row) -> None:
    print(json.dumps(asdict(replace(row, group=name))), file=answers, flush=True)


if __name__ == "__main__":
    main()
