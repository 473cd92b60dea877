"""Arena-Hard, MT-Bench, and tasks with known answers: asked and scored by EvalScope."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from rlhf.benchmarks.settings import BenchmarkSpec
from rlhf.benchmarks.suites import evalscope_task
from rlhf.benchmarks.suites.child import Measured, fresh_folder, never, run_child
from rlhf.benchmarks.suites.evalscope_files import read_evalscope

NOBODY = "http://127.0.0.1:9/v1"
"""Where a judge would be asked by a benchmark that should have none. EvalScope's default is a public server."""


def measure(
    spec: BenchmarkSpec,
    policy_url: str,
    judge_url: str | None,
    work: Path,
    *,
    key: str = "none",
    answers_only: bool = False,
    stop: Callable[[], bool] = never,
    in_flight: int = 16,
    python: str = sys.executable,
) -> Measured:
    """Ask the policy all questions of a benchmark, and have the answers scored. See `read_evalscope` for the scores.

    The servers answer once they have the answer, or with 400 to what they do not take. Requests depend on the spec
    alone, so a server that has kept its answers makes a second run free. Questions come from `spec.task.data`, in the
    form of EvalScope's datasets, else from the Hugging Face hub.

    Args:
        spec: what to run.
        policy_url: base URL of an OpenAI-compatible server, which knows the policy as `policy`.
        judge_url: base URL of the judge's; None where there is no judge.
        work: a folder for EvalScope's files, questions and answers among them. It is emptied first.
        key: sent to both servers.
        answers_only: ask the policy, and nobody else: no rows. What it says can then be judged in a second run.
        stop: asked while it runs; all is ended once it says yes.
        in_flight: requests at a time.
        python: an interpreter that has EvalScope.

    Raises:
        StoppedError: `stop` said yes.
        UserError: EvalScope failed, or left out questions.
    """
    work = fresh_folder(work)
    judge = None if spec.judge is None else {"model": spec.judge.model, "max_tokens": spec.judge.max_tokens}
    options = spec.task.model_dump(mode="json")
    data = None if options["data"] is None else Path(options["data"]).resolve()
    task = {
        "benchmark": spec.benchmark,
        "task": {**options, "data": None if data is None else str(data)},
        "seed": spec.seed,
        "judge": judge,
        "in_flight": in_flight,
        "answers_only": answers_only,
    }
    environment = _environment(policy_url, judge_url or NOBODY, key, work, data)
    run_child(evalscope_task.__name__, work, task, environment, stop, python)
    return Measured([], {}) if answers_only else read_evalscope(work, spec.benchmark)


def _environment(policy_url: str, judge_url: str, key: str, work: Path, data: Path | None) -> dict[str, str]:
    """Where EvalScope asks, and where it and what it uses keep files."""
    found = {
        "EVALSCOPE_BASE_URL": policy_url,
        "EVALSCOPE_API_KEY": key,
        "MODELSCOPE_API_BASE": judge_url,
        "MODELSCOPE_SDK_TOKEN": key,
        "MODELSCOPE_CACHE": str(work / "modelscope"),
        "EVALSCOPE_CACHE": str(work / "evalscope"),
    }
    if data is None:
        return found
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_DATASETS_CACHE": str(work / "huggingface")}
    words = {"NLTK_DATA": str(data / "nltk_data")} if (data / "nltk_data").is_dir() else {}
    return {**found, **offline, **words}
