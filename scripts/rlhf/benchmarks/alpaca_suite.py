"""AlpacaEval 2: answers to 805 instructions against those of GPT-4 Turbo, judged by the alpaca_eval package.

A score is the probability that the judge, which reads both answers, names the policy's: `verdicts` holds it alone, as
each pair is shown once. Which answer is shown first is decided by a hash of the instruction: the same for every policy.
The judge's server has to give log-probabilities. A verdict is read off those of the first token, so the judge is not
asked again where there is none.

`published` has the package's `published_win_rate`. Where `df_gamed.csv` lies beside the reference's answers, and all
instructions have a verdict, it also has `published_length_controlled`.

The servers answer once they have the answer, or with 400, 413 or 422 to what they do not take. Requests depend on the
spec alone, so servers that keep their answers make a second run free.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from rlhf.base.errors import UserError
from rlhf.benchmarks.settings import BenchmarkSpec
from rlhf.benchmarks.suites import alpaca_task
from rlhf.benchmarks.suites.alpaca_task import ANNOTATIONS, ANSWERS, CLIENTS, GAMED, REFERENCES, RESULT
from rlhf.benchmarks.suites.child import (
    NO_VERDICT,
    REFUSED,
    Measured,
    fresh_folder,
    never,
    nobody,
    question_id,
    run_child,
)

HUB_DATASET = "tatsu-lab/alpaca_eval"
PUBLISHED = {"win_rate": "published_win_rate", "length_controlled_winrate": "published_length_controlled"}
"""The package's names -> ours."""
ROUNDING = 1e-9
Row = dict[str, Any]


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
    """Ask the policy all instructions, and then have its answers compared with the reference's; see above.

    Args:
        spec: what to run. Its data folder holds `alpaca_eval_gpt4_baseline.json`, a list of `instruction`, `output` and
            perhaps `dataset`, which is what subsets are; without a folder it comes from the Hugging Face hub.
        policy_url: base URL of an OpenAI-compatible server, which knows the policy as `policy`.
        judge_url: base URL of the judge's, which knows it as the spec's judge is called.
        work: a folder for the package's files, instructions and answers among them. It is emptied first.
        key: sent to both servers.
        answers_only: ask the policy, and nobody else: no rows. What it says can then be judged in a second run.
        stop: asked while it runs; all is ended once it says yes.
        expect: told the number of instructions.
        in_flight: requests at a time.
        python: an interpreter that has alpaca_eval.

    Raises:
        StoppedError: `stop` said yes.
        UserError: there is no judge, the reference's answers are not as they should be, or alpaca_eval failed.
    """
    if spec.judge is None or (judge_url is None and not answers_only):
        raise UserError("alpaca_eval needs a judge, and there is none: give `benchmarks.judge`")
    if spec.task.few_shot:
        raise UserError("alpaca_eval has no worked examples: leave `few_shot` out")
    work = fresh_folder(work)
    references, gamed = _references(spec)
    expect(len(references))
    task = {
        "references": references,
        "gamed": None if gamed is None else str(gamed),
        **_request_options(spec),
        "in_flight": in_flight,
        "answers_only": answers_only,
    }
    run_child(alpaca_task.__name__, work, task, _environment(policy_url, judge_url, key, work), stop, python)
    return Measured([], {}) if answers_only else _read(work, references)


def _request_options(spec: BenchmarkSpec) -> dict[str, Any]:
    """What requests depend on, beside the instructions."""
    return {
        "judge": None if spec.judge is None else spec.judge.model,
        "max_tokens": spec.task.max_tokens,
        "temperature": spec.task.temperature,
        "seed": spec.seed,
    }


def _environment(policy_url: str, judge_url: str | None, key: str, work: Path) -> dict[str, str]:
    """Where the policy and the judge are asked, the latter by a file, as the package has it."""
    clients = {"default": [{"api_key": key, "base_url": judge_url}]}
    (work / CLIENTS).write_text(yaml.safe_dump(clients))
    return {
        "POLICY_URL": policy_url,
        "POLICY_KEY": key,
        "OPENAI_CLIENT_CONFIG_PATH": str(work / CLIENTS),
        "HF_HUB_OFFLINE": "1",
    }


def _references(spec: BenchmarkSpec) -> tuple[list[Row], Path | None]:
    """The reference's answers that are asked for, and `df_gamed.csv` if it is there.

    Raises:
        UserError: the file cannot be had, or is not as it should be.
    """
    if spec.task.data is None:
        path, gamed = _from_hub(REFERENCES), _from_hub(GAMED)
    else:
        path, gamed = Path(spec.task.data).resolve() / REFERENCES, Path(spec.task.data).resolve() / GAMED
    if not path.is_file():
        raise UserError(f"{path}: there is no such file. It is in the data set {HUB_DATASET}")
    try:
        rows = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: it is no JSON: {type(error).__name__}") from None
    try:
        rows = [{"dataset": "", **row} for row in rows]
        texts = [row[name] for row in rows for name in ("instruction", "output", "dataset")]
    except (TypeError, KeyError) as error:
        raise UserError(f"{path}: it is no list of `instruction` and `output`: {type(error).__name__}") from None
    if not rows or not all(isinstance(text, str) for text in texts):
        raise UserError(f"{path}: `instruction`, `output` and `dataset` are texts, and at least one row is needed")
    if len({row["instruction"] for row in rows}) < len(rows):
        raise UserError(f"{path}: an instruction is there twice; alpaca_eval joins answers by it")
    if spec.task.subsets is not None:
        missing = set(spec.task.subsets) - {row["dataset"] for row in rows}
        if missing:
            raise UserError(f"{path}: no instruction is of the `dataset` {', '.join(sorted(missing))}")
        rows = [row for row in rows if row["dataset"] in spec.task.subsets]
    whole = spec.task.subsets is None and spec.task.limit is None
    kept = [{name: row[name] for name in ("instruction", "output", "dataset")} for row in rows]
    return kept[: spec.task.limit], gamed if whole and gamed.is_file() else None


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(HUB_DATASET, name, repo_type="dataset"))
    except Exception as error:
        raise UserError(
            f"{name} of {HUB_DATASET} cannot be had from the hub: {type(error).__name__}. Put the file into a folder, "
            "and give that as `data`."
        ) from error


def _read(work: Path, references: list[Row]) -> Measured:
    """The rows.

    Raises:
        UserError: not one verdict, or the mean of our scores is not alpaca_eval's win rate.
    """
    answers = json.loads((work / ANSWERS).read_text())
    annotations = json.loads((work / ANNOTATIONS).read_text()) if (work / ANNOTATIONS).exists() else []
    preferences = {row["instruction"]: _probability(row["preference"]) for row in annotations}
    rows = [
        _row(index, reference, said, preferences.get(reference["instruction"]))
        for index, (reference, said) in enumerate(zip(references, answers, strict=True))
    ]
    scores = [row["score"] for row in rows if row["score"] is not None]
    if not scores and annotations:
        raise UserError(
            f"alpaca_eval: the judge gave no verdict on any of {len(annotations)} answers. Its server has to give the "
            "log-probabilities of the first token (`logprobs`, `top_logprobs`), `m` or `M` among them."
        )
    result = json.loads((work / RESULT).read_text()) if (work / RESULT).exists() else {}
    if scores and abs(sum(scores) / len(scores) - result["win_rate"] / 100) > ROUNDING:
        raise UserError("alpaca_eval: the mean of the scores is not its win rate")
    return Measured(rows, {PUBLISHED[name]: value / 100 for name, value in result.items()})


def _probability(preference: float | None) -> float | None:
    """That the policy's answer is the better one; NaN and None say nothing."""
    return None if preference is None or preference != preference else preference - 1


def _row(index: int, reference: Row, said: Row, preference: float | None) -> Row:
    answer = said["answer"]
    unknown = REFUSED if answer is None else NO_VERDICT if preference is None else None
    return {
        "question_id": question_id("eval", index, [reference["instruction"]]),
        "category": reference["dataset"],
        "question": [reference["instruction"]],
        "answer": [answer or ""],
        "score": preference,
        "verdicts": [preference],
        "unknown": unknown,
        "length": len(answer or ""),
        "reference_length": len(reference["output"]),
        "tokens": said["tokens"],
    }
