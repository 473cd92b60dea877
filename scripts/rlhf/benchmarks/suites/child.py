"""A benchmark library in a process of its own: it is started, watched, ended, and says what it failed on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rlhf.base.errors import UserError

SCRIPTS = Path(__file__).resolve().parents[3]
TASK, LOG, FAILURE = "task.json", "log", "failure.json"
SECONDS_BETWEEN_LOOKS = 0.1
LOCAL = "127.0.0.1,localhost"
OF_OTHER_SERVERS = ("EVALSCOPE_", "MODELSCOPE_", "JUDGE_", "OPENAI_", "LITELLM_", "ANTHROPIC_", "AZURE_")
"""Starts of environment variables that would send a library to another server, or hold the key of one."""
REQUEST_SECONDS = 1_000_000.0
"""How long a library waits for an answer: the server that it asks knows when to give up."""
REFUSAL_STATUSES = (400, 413, 422)
"""Of a request that a server does not take: too long, for example."""
REFUSED, NO_VERDICT = "refused", "no_verdict"
"""Why a question has no score: the policy's server did not take the request, or the judge gave no verdict."""


class Measured(NamedTuple):
    """What a suite has found out."""

    rows: list[dict[str, Any]]
    """Rows of `BENCHMARK`."""
    published: dict[str, float]
    """Results by the library's own aggregation, in [0, 1]: `published_win_rate`, `published_length_controlled`."""


def question_id(place: str, index: int, texts: Sequence[str]) -> str:
    """Place, index and a digest of the texts: questions of one name are equal in the files of two policies."""
    digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{place}-{index:05}-{digest}"


class StoppedError(Exception):
    """The caller has asked to stop."""


def never() -> bool:
    """Whether to stop: no."""
    return False


def nobody(questions: int) -> None:
    """Who is told how many questions there are."""


def fresh_folder(work: Path) -> Path:
    """An empty folder `work`, whatever was there: what a killed library leaves behind is not to be trusted."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    return work.resolve()


def run_child(
    module: str,
    work: Path,
    task: Mapping[str, Any],
    environment: Mapping[str, str],
    stop: Callable[[], bool] = never,
    python: str = sys.executable,
) -> None:
    """Run `python -m module WORK` until it ends. It finds `task` in `WORK/task.json`.

    What it prints goes to `WORK/log`, which holds questions and answers: it is never shown. When this function is left,
    the process and all that it has started are gone.

    Args:
        module: a module of `scripts/` that calls `main_of_child`.
        work: an empty folder; also the working directory.
        task: JSON.
        environment: variables to set, beside our own. Those of other servers are left out.
        stop: asked ten times a second; the process is killed once it says yes.
        python: an interpreter that has the library.

    Raises:
        StoppedError: `stop` said yes.
        UserError: it failed. The message holds the exception's type and module, and nothing of the texts.
    """
    (work / TASK).write_text(json.dumps(task))
    command = [python, "-P", "-m", module, str(work)]
    with (work / LOG).open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=work,
            env=_environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            status = _wait(process, stop)
        finally:
            _kill_group(process)
    if status:
        if stop():
            raise StoppedError
        raise UserError(_failure(module, status, work))


def _wait(process: subprocess.Popen[bytes], stop: Callable[[], bool]) -> int:
    """Its exit status."""
    while True:
        try:
            return process.wait(SECONDS_BETWEEN_LOOKS)
        except subprocess.TimeoutExpired:
            if stop():
                raise StoppedError from None


def main_of_child(run: Callable[[Path, dict[str, Any]], None]) -> None:
    """Call `run(work, task)`, and leave what it fails on in `WORK/failure.json`."""
    work = Path(sys.argv[1])
    try:
        run(work, json.loads((work / TASK).read_text()))
    except Exception as error:
        (work / FAILURE).write_text(json.dumps(_described(error)))
        raise


def _described(error: Exception) -> dict[str, str]:
    """Our own messages hold no texts of questions and answers; those of other exceptions may."""
    if isinstance(error, UserError):
        return {"message": str(error)}
    frames = traceback.extract_tb(error.__traceback__)
    place = f", raised in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return {"message": f"{type(error).__module__}.{type(error).__qualname__}{place}"}


def _failure(module: str, status: int, work: Path) -> str:
    found = work / FAILURE
    if found.exists():
        message = str(json.loads(found.read_text())["message"])
    else:
        message = f"the process was ended by signal {-status}" if status < 0 else f"the process ended with {status}"
    name = module.rpartition(".")[2]
    return f"{name}: {message}. Its log, {work / LOG}, says more; it holds questions and answers."


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OF_OTHER_SERVERS)}
    no_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), LOCAL]))
    own = {
        "PYTHONPATH": str(SCRIPTS),
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    return {**kept, **own, **changes}


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End all that was started, and wait for the process itself."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()
