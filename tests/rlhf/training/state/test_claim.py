"""Only one training at a time saves its states in a folder."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from accelerate import Accelerator

from rlhf.base.errors import UserError
from rlhf.training.state import claim as training_claim
from rlhf.training.state.claim import claimed
from small_models import SCRIPTS

QUICK = {"STALE_SECONDS": 2.0, "HEARTBEAT_SECONDS": 0.3, "WAIT_SECONDS": 5.0}
HOLDER = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(SCRIPTS)!r})
from accelerate import Accelerator
from rlhf.training.state import claim as training_claim
vars(training_claim).update({QUICK})
with training_claim.claimed(Path(sys.argv[1]), Accelerator(cpu=True)):
    print("held", flush=True)
    time.sleep(100)
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in QUICK.items():
        monkeypatch.setattr(training_claim, name, seconds)


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that holds the claim."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "states")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_while_one_runs_another_is_refused_with_its_name(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    begun = time.monotonic()
    with (
        pytest.raises(UserError, match=f"saves its states here: process {holder.pid} on {socket.gethostname()}"),
        claimed(tmp_path / "states", Accelerator(cpu=True)),
    ):
        pytest.fail("two at once")
    assert time.monotonic() - begun > QUICK["STALE_SECONDS"]  # its heartbeat kept the claim alive
    assert holder.poll() is None
    holder.kill()
    holder.communicate()


def test_the_claim_of_a_dead_training_is_taken_over_at_once(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    holder.kill()
    holder.communicate()
    begun = time.monotonic()
    with claimed(tmp_path / "states", Accelerator(cpu=True)):
        assert time.monotonic() - begun < QUICK["STALE_SECONDS"]
    assert not (tmp_path / "states").exists()


def test_one_that_lost_its_claim_ends(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    """A suspended process has no heartbeat, like a process on a machine that cannot be reached."""
    holder.send_signal(signal.SIGSTOP)
    with claimed(tmp_path / "states", Accelerator(cpu=True)):
        holder.send_signal(signal.SIGCONT)
        assert holder.wait(timeout=10) == 1
    assert "this training lost its claim on the saved states" in holder.communicate()[1]


def test_saved_states_stay(tmp_path: Path) -> None:
    with claimed(tmp_path / "states", Accelerator(cpu=True)):
        (tmp_path / "states/mine").mkdir()
    assert [path.name for path in (tmp_path / "states").iterdir()] == ["mine"]
