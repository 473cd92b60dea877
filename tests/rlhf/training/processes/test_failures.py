"""Which of several failed processes is named, and what the error says."""

import json
import signal
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from rlhf.training.processes.failures import root_cause

LOST = "RuntimeError: [gloo/transport/tcp/pair.cc:534] Connection closed by peer"


def failure(folder: Path, rank: int, exitcode: int, said: str | None = None) -> ProcessFailure:
    """As torch's launcher finds it; the lower the rank, the earlier it failed."""
    file = folder / f"{rank}.json"
    if said is not None:
        more = {"py_callstack": "", "timestamp": str(100 + rank)}
        file.write_text(json.dumps({"message": {"message": said, "extraInfo": more}}))
    return ProcessFailure(local_rank=rank, pid=rank, exitcode=exitcode, error_file=str(file))


@pytest.mark.parametrize("exitcode", [1, -signal.SIGABRT])
def test_a_process_with_an_exception_of_its_own_is_named(exitcode: int, tmp_path: Path) -> None:
    """Also if it aborted while it shut down."""
    failures = [failure(tmp_path, 0, 1, LOST), failure(tmp_path, 1, exitcode, "UserError: no pairs")]
    assert root_cause(dict(enumerate(failures))) == "process 1 of the training failed: no pairs"


def test_a_killed_process_is_named_before_those_that_lost_it(tmp_path: Path) -> None:
    failures = [
        failure(tmp_path, 0, 1, LOST),
        failure(tmp_path, 1, -signal.SIGKILL),
        failure(tmp_path, 2, -signal.SIGTERM),
    ]
    assert root_cause(dict(enumerate(failures))).startswith("process 1 of the training was killed (SIGKILL)")


def test_a_process_that_recorded_nothing_is_named_with_its_status(tmp_path: Path) -> None:
    said = root_cause({0: failure(tmp_path, 0, 3)})
    assert said == "process 0 of the training failed: it exited with status 3; see its output above"
