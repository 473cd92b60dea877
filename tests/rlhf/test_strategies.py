"""How several processes are started, and how one of them ends."""

import os
import subprocess
import sys

import pytest
from torch.distributed.run import config_from_args, parse_args

from rlhf.strategies import launch
from small_models import SCRIPTS

PROGRAM = """
import atexit
from rlhf.strategies import leave
atexit.register(print, "taken down")
print("written", end="")
leave()
"""


def test_leaving_writes_what_is_buffered_and_takes_nothing_down() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=SCRIPTS, capture_output=True, text=True, check=True)
    assert done.stdout == "written"


def test_the_launcher_kills_no_process_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(os, "execv", lambda program, command: commands.append(command))
    launch(2, nodes=1, gpus=0, threads=1, stop_seconds=77)
    (command,) = commands
    assert command[1:3] == ["-m", "torch.distributed.run"]
    config = config_from_args(parse_args(command[3:]))[0]
    assert (config.shutdown_timeout, config.nproc_per_node) == (77, 2)
