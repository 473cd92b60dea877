"""`make clean-temporary`: what killed jobs left goes, and the program says what, and what it left."""

import os
import subprocess
import time
from pathlib import Path

from rlhf.base.files.temporary_files import temporary_path
from run_commands import run_command


def clean(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run_command("clean_temporary", *arguments, folder=cwd)


def test_the_dead_go_and_the_living_stay(tmp_path: Path) -> None:
    results = tmp_path / "results"
    own = temporary_path(results / "tiny/rebel-1/checkpoint")  # of this process, which lives
    dead = own.with_name(own.name.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-"))  # a number beyond the largest
    state = results / "tiny/rebel-1/training_state/identity/.step-00000007.tmp"
    for folder in (own, dead, state):
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(bytes(2_000_000))
    whole = results / "tiny/prompts.parquet"
    whole.write_text("whole")
    done = clean(cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()) == {
        f"removed {dead.relative_to(tmp_path)} (2.0 MB)",
        f"kept {own.relative_to(tmp_path)} (2.0 MB): process {os.getpid()} is alive and writing it",
        f"kept {state.relative_to(tmp_path)} (2.0 MB): its owner may be alive: it was written to in the last 24 hours",
        "2.0 MB freed",
    }
    assert (dead.exists(), own.exists(), state.exists(), whole.exists()) == (False, True, True, True)
    long_ago = time.time() - 25 * 3600
    for path in (state / "weights", state):
        os.utime(path, (long_ago, long_ago))
    done = clean(results, cwd=tmp_path)
    assert f"removed {state} (2.0 MB)" in done.stdout
    assert own.exists() and not state.exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    done = clean(cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "error: results: there is no such folder\n")
