"""EvalScope's side of a benchmark: a process that asks the policy and the judge, and leaves EvalScope's own files.

Beside them it writes `questions.jsonl`, a line for each question that was to be asked, whatever became of it:
`subset`, `index` (in the subset), `texts` (the user's turns, as sent), `target` (the known answer, or another model's),
`capability` (Arena-Hard's kind of question, else null), `refused` (the policy's server did not take the request).
`results.json` holds pairs of a subset and a result over its questions, which the report has rounded to four digits.

Where we differ from EvalScope as it comes:

- A request that the policy's server refuses has no score, and no judge sees it. EvalScope takes the text of the error
  for the answer.
- A judge's answer that is no verdict is asked for once more, at temperature 1, as the same request would get the same
  answer. EvalScope drops the question at once.
- Where the judge's server fails, the run ends. EvalScope drops the question.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlhf.base.errors import UserError
from rlhf.benchmarks.suites.child import REFUSAL_STATUSES, REQUEST_SECONDS, main_of_child

POLICY = "policy"
"""What the policy is called in requests and in EvalScope's files, whichever it is."""
QUESTIONS, RESULTS = "questions.jsonl", "results.json"
SECOND_TEMPERATURE = 1.0
NO_RETRIES = {"retries": 1, "timeout": REQUEST_SECONDS, "retry_interval": 1}
REFUSALS = ("BadRequestError:", "UnprocessableEntityError:", "APIStatusError: Error code: 413")
"""Starts of the errors that EvalScope notes of requests that a judge's server does not take."""
REFUSED = "refused_by_the_server"
"""Marks a question in its metadata."""


def run(work: Path, task: dict[str, Any]) -> None:
    """Measure one benchmark.

    Args:
        work: where EvalScope's files go.
        task: `benchmark`, `task` (a `BenchmarkTask`), `seed`, `judge` (`model` and `max_tokens`, or None), `in_flight`
            (requests at a time), `answers_only` (no answer is scored, and no judge asked).

    Raises:
        UserError: EvalScope has no such benchmark, it cannot be run here, or its questions are nowhere to be had.
    """
    from evalscope.api.registry import BENCHMARK_REGISTRY, EVALUATOR_REGISTRY, get_benchmark
    from evalscope.models.openai_compatible import OpenAICompatibleAPI
    from evalscope.run import run_task

    if task["benchmark"] not in BENCHMARK_REGISTRY:
        raise UserError(f"EvalScope has no benchmark {task['benchmark']!r}")
    config = _task_config(work, task)
    _check(get_benchmark(task["benchmark"], config), task)
    EVALUATOR_REGISTRY["default"] = _evaluator(work, task["answers_only"])
    OpenAICompatibleAPI.handle_bad_request = _raise_it
    if task["judge"] is not None:
        _ask_the_judge_twice(task["judge"], task["seed"])
    run_task(config)


def _task_config(work: Path, task: Mapping[str, Any]) -> Any:
    """EvalScope's configuration. URLs and keys reach it by environment variables, so its files and bodies hold none."""
    from evalscope.config import TaskConfig

    options, judge = task["task"], task["judge"]
    chosen = {"local_path": options["data"], "subset_list": options["subsets"], "few_shot_num": options["few_shot"]}
    models = [{"model_id": judge["model"], "generation_config": _judging(judge, 0.0)}] if judge else []
    return TaskConfig(
        model=POLICY,
        eval_type="openai_api",
        api_key=None,
        model_args={"max_retries": 0},
        generation_config={
            **NO_RETRIES,
            "max_tokens": options["max_tokens"],
            "temperature": options["temperature"],
            "seed": task["seed"],
        },
        datasets=[task["benchmark"]],
        dataset_args={task["benchmark"]: {name: value for name, value in chosen.items() if value is not None}},
        dataset_hub="huggingface",
        dataset_dir=str(work / "datasets"),
        limit=options["limit"],
        judge={"models": models},
        eval_batch_size=task["in_flight"],
        work_dir=str(work),
        no_timestamp=True,
    )


def _judging(judge: Mapping[str, Any], temperature: float, **more: Any) -> dict[str, Any]:
    return {**NO_RETRIES, "temperature": temperature, "max_tokens": judge["max_tokens"], **more}


def _check(benchmark: Any, task: Mapping[str, Any]) -> None:
    """Refuse what cannot be run, before the policy is asked.

    Raises:
        UserError: no judge for open answers, answers that would be run as programs, or no source of questions.
    """
    from evalscope.api.mixin.code_execution_sandbox_mixin import CodeExecutionSandboxMixin

    name, meta = task["benchmark"], benchmark.benchmark_meta
    if benchmark.use_llm_judge and task["judge"] is None:
        raise UserError(f"{name} needs a judge, and there is none: give `benchmarks.judge`")
    if isinstance(benchmark, CodeExecutionSandboxMixin):
        raise UserError(f"{name} runs the policy's answers as programs, which is not done here: take another benchmark")
    if task["task"]["data"] is None and not meta.hf_dataset_id:
        raise UserError(
            f"EvalScope knows no copy of {name} on the Hugging Face hub, and code of a dataset's repository (on "
            f"ModelScope: {meta.dataset_id}) is not run here. Download its files and give the folder as `data`."
        )


def _evaluator(work: Path, answers_only: bool) -> type[Any]:
    """EvalScope's evaluator, which notes the questions and passes over refused requests."""
    from evalscope.api.evaluator import TaskState
    from evalscope.api.metric import SampleScore, Score
    from evalscope.api.model import ModelOutput
    from evalscope.constants import ScoreStatus
    from evalscope.evaluator.evaluator import DefaultEvaluator
    from openai import APIStatusError

    class Evaluator(DefaultEvaluator):  # type: ignore[misc, unused-ignore]
        def _collect_work_items(self, dataset_dict: Any) -> Any:
            self._asked = dataset_dict
            _write_questions(work / QUESTIONS, dataset_dict)
            return super()._collect_work_items(dataset_dict)

        def _predict_sample(self, sample: Any, model_prediction_dir: str) -> Any:
            try:
                return super()._predict_sample(sample, model_prediction_dir)
            except APIStatusError as error:
                if error.status_code not in REFUSAL_STATUSES:
                    raise
                sample.metadata = {**(sample.metadata or {}), REFUSED: True}
                output = ModelOutput.from_content(model=POLICY, content="")
                return TaskState(model=POLICY, sample=sample, messages=sample.input, output=output, completed=True)

        def _review_task_state(self, task_state: Any) -> Any:
            if not answers_only and REFUSED not in (task_state.metadata or {}):
                return super()._review_task_state(task_state)
            score = Score(prediction="", status=ScoreStatus.EXCLUDED)
            return SampleScore(score=score, sample_id=task_state.sample_id, group_id=task_state.group_id)

        def _aggregate_scores(self, *arguments: Any) -> Any:
            found = super()._aggregate_scores(*arguments)
            results = [[subset, result.model_dump(mode="json")] for subset, all_ in found.items() for result in all_]
            (work / RESULTS).write_text(json.dumps(results))
            return found

        def finalize(self, *arguments: Any, **options: Any) -> None:
            super().finalize(*arguments, **options)
            _write_questions(work / QUESTIONS, getattr(self, "_asked", {}))

    return Evaluator


def _raise_it(self: Any, error: Exception) -> Any:
    """In place of EvalScope's, which makes an answer of the error's text."""
    raise error


def _ask_the_judge_twice(judge: Mapping[str, Any], seed: int) -> None:
    """Give EvalScope an executor of judgements that asks once more where an answer is no verdict."""
    from evalscope.api import judge as judging
    from evalscope.constants import ScoreStatus
    from evalscope.metrics import LLMJudge

    second = LLMJudge(
        model_id=judge["model"],
        generation_config=_judging(judge, SECOND_TEMPERATURE, seed=seed),
        model_args={"max_retries": 0},
    )
    second.judge_id = judge["model"]

    class Executor(judging.JudgeExecutor):  # type: ignore[misc, unused-ignore]
        def _resolve_placement(
            self, definition: Any, context: Any, judge: Any, *rest: Any
        ) -> Any:  # rest ends with the review, whose attempts are all requests of the question
            value = super()._resolve_placement(definition, context, judge, *rest)
            if value is None and rest[-1].attempts[-1].status is ScoreStatus.PARSE_ERROR:
                value = super()._resolve_placement(definition, context, second, *rest)
            if value is None and rest[-1].attempts[-1].status is ScoreStatus.TRANSPORT_ERROR:
                _check_refused(rest[-1].attempts[-1].error)
            return value

    judging.JudgeExecutor = Executor


def _check_refused(error: str) -> None:
    """Raises:
    UserError: this is not the error of a request that the judge's server does not take.
    """
    if not error.startswith(REFUSALS):
        raise UserError(f"the judge's server did not answer: openai.{error.split(':')[0]}")


def _write_questions(path: Path, asked: Mapping[str, Any]) -> None:
    unfinished = path.with_suffix(".new")
    with unfinished.open("w") as lines:
        for subset, samples in asked.items():
            for sample in samples:
                metadata = sample.metadata or {}
                line = {
                    "subset": subset,
                    "index": sample.id,
                    "texts": metadata.get("turns") or [m.text for m in sample.input if m.role == "user"],
                    "target": sample.target,
                    "capability": metadata.get("capability"),
                    "refused": REFUSED in metadata,
                }
                lines.write(json.dumps(line) + "\n")
    unfinished.replace(path)


if __name__ == "__main__":
    main_of_child(run)
