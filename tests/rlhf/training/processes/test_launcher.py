"""How processes are started and restarted, and how one of several exits."""

import json
import os
import socket
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from torch.distributed.run import config_from_args

import rlhf.training.processes.launcher
from rlhf.training.processes.launcher import launch
from small_models import SCRIPTS

PROGRAM = """
import atexit
from rlhf.training.processes.launcher import leave
atexit.register(print, "taken down")
print("written", end="")
leave()
"""


def test_leaving_flushes_output_and_skips_the_shutdown() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=SCRIPTS, capture_output=True, text=True, check=True)
    assert done.stdout == "written"


PROCESSES = """
import atexit, json, os, sys, time
from pathlib import Path
states, nodes = Path(sys.argv[1]), int(sys.argv[2])
if "RANK" not in os.environ:
    atexit.register(print, "taken down")
    from rlhf.training.processes.launcher import launch
    launch(2, nodes, 0, 1, 30, states)
starts = [states / "starts-0", states / "starts-1"]
rank = int(os.environ["RANK"])
with starts[rank].open("a") as file:
    file.write("x")
number = starts[rank].stat().st_size
budgets = json.loads(sys.argv[3])
if number > len(budgets):
    sys.exit()
while not all(file.exists() and file.stat().st_size >= number for file in starts):
    time.sleep(0.01)
if rank == 0:
    time.sleep(5 if nodes > 1 else 60)  # as in a collective operation that the other one never joins
elif budgets[number - 1]:
    saved = {"configured": 900, "token_budget": budgets[number - 1]}
    (states / "identity/token_budget.json").write_text(json.dumps(saved))
sys.exit(1)
"""
"""Starts itself as two processes, which fail once for each of the given budgets; the second process saves it."""


def start_processes(folder: Path, nodes: int, budgets: list[int], **environment: str) -> subprocess.Popen[str]:
    (folder / "identity").mkdir(exist_ok=True)
    program = folder / "program.py"
    program.write_text(PROCESSES)
    return subprocess.Popen(
        [sys.executable, str(program), str(folder), str(nodes), json.dumps(budgets)],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def starts(folder: Path) -> list[int]:
    """Number of starts of each process."""
    return [(folder / f"starts-{rank}").stat().st_size for rank in (0, 1)]


@pytest.mark.parametrize(
    ("budgets", "status", "expected"),
    [([], 0, 1), ([500, 250], 0, 3), ([500, 500, 250], 1, 2), ([0], 1, 1)],
    ids=["success", "smaller twice", "not smaller the second time", "another failure"],
)
def test_processes_start_again_only_if_the_budget_became_smaller(
    budgets: list[int], status: int, expected: int, tmp_path: Path
) -> None:
    launcher = start_processes(tmp_path, 1, budgets)
    shown, written = launcher.communicate(timeout=100)
    assert (launcher.returncode, starts(tmp_path)) == (status, [expected, expected]), written
    assert "taken down" not in shown  # at its end, torch's threads could abort it


@pytest.mark.slow
def test_several_nodes_leave_it_to_the_retry_of_their_job(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("", 0))
        meeting_point = f"127.0.0.1:{free.getsockname()[1]}"
    nodes = [
        start_processes(tmp_path, 2, [500], RLHF_MEETING_POINT=meeting_point, SLURM_NODEID=str(node))
        for node in range(2)
    ]
    for launcher in nodes:
        _, written = launcher.communicate(timeout=100)
        assert launcher.returncode == 1, written
    assert starts(tmp_path) == [1, 1]


def test_the_launcher_kills_no_process_before_its_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[Namespace] = []
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(sys, "argv", ["program.py"])
    monkeypatch.setattr(rlhf.training.processes.launcher, "run_processes", started.append)
    monkeypatch.setattr(rlhf.training.processes.launcher, "leave", sys.exit)
    with pytest.raises(SystemExit):
        launch(2, nodes=1, gpus=0, threads=1, stop_seconds=77, states=tmp_path)
    config = config_from_args(started[0])[0]
    assert (config.shutdown_timeout, config.nproc_per_node) == (77, 2)
