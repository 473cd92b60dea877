"""Arena-Hard, MT-Bench, and tasks with known answers: asked and scored by EvalScope."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlhf.benchmarks.settings import BenchmarkSpec
from rlhf.benchmarks.suites import evalscope_task
from rlhf.benchmarks.suites.child import Measured, fresh_folder, never, nobody, run_child
from rlhf.benchmarks.suites.evalscope_files import number_of_questions, read_evalscope

NOWHERE = "http://127.0.0.1:9/v1"
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
    expect: Callable[[int], None] = nobody,
    in_flight: int = 16,
    python: str = sys.executable,
) -> Measured:
    """Ask the policy all questions of a benchmark, and have the answers scored. See `read_evalscope` for the scores.

    The servers answer once they have the answer, or with 400, 413 or 422 to what they do not take. Requests depend on
    the spec alone, so servers that keep their answers make a second run free.

    Questions come from `spec.task.data`, in the form of EvalScope's data sets, else from the Hugging Face hub.

    Args:
        spec: what to run.
        policy_url: base URL of an OpenAI-compatible server, which knows the policy as `policy`.
        judge_url: base URL of the judge's, which knows it as the spec's judge is called; None where there is no judge.
        work: a folder for EvalScope's files, questions and answers among them. It is emptied first.
        key: sent to both servers.
        answers_only: ask the policy, and nobody else: no rows. What it says can then be judged in a second run, without
            turns between the two for every few questions.
        stop: asked while it runs; all is ended once it says yes.
        expect: told the number of questions, once it is known.
        in_flight: requests at a time.
        python: an interpreter that has EvalScope.

    Raises:
        StoppedError: `stop` said yes.
        UserError: EvalScope failed, or left out questions.
    """
    work = fresh_folder(work)
    task = _task(spec, in_flight, answers_only)
    environment = _environment(policy_url, judge_url or NOWHERE, key, work, task["task"]["data"])
    run_child(evalscope_task.__name__, work, task, environment, _look(work, expect, stop), python)
    return Measured([], {}) if answers_only else read_evalscope(work, spec.benchmark)


def _look(work: Path, expect: Callable[[int], None], stop: Callable[[], bool]) -> Callable[[], bool]:
    """Whether to stop; the first time that the number of questions is known, it is told."""
    told = False

    def look() -> bool:
        nonlocal told
        if not told and (questions := number_of_questions(work)) is not None:
            told = True
            expect(questions)
        return stop()

    return look


def _task(spec: BenchmarkSpec, in_flight: int, answers_only: bool) -> dict[str, Any]:
    options = spec.task.model_dump(mode="json")
    if options["data"] is not None:
        options["data"] = str(Path(options["data"]).resolve())
    return {
        "benchmark": spec.benchmark,
        "task": options,
        "seed": spec.seed,
        "judge": None if spec.judge is None else {"model": spec.judge.model, "max_tokens": spec.judge.max_tokens},
        "in_flight": in_flight,
        "answers_only": answers_only,
    }


def _environment(policy_url: str, judge_url: str, key: str, work: Path, data: str | None) -> dict[str, str]:
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
    words = Path(data) / "nltk_data"
    return {**found, **offline, **({"NLTK_DATA": str(words)} if words.is_dir() else {})}
