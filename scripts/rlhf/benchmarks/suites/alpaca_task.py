"""AlpacaEval 2's side of a benchmark: a process that asks the policy, and has its answers judged by alpaca_eval.

It leaves `answers.json` (a line of `answer`, None if the policy's server refused the request, and `tokens`, for each
instruction), `annotations.json` (the package's, with `preference`: 1 + the probability that the policy's answer is the
better one) and `result.json` (the package's win rates, in percent).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rlhf.base.errors import UserError
from rlhf.benchmarks.suites.child import REFUSAL_STATUSES, REQUEST_SECONDS, main_of_child

POLICY = "policy"
"""What the policy is called in requests, whichever it is."""
REFERENCES, GAMED = "alpaca_eval_gpt4_baseline.json", "df_gamed.csv"
"""The reference's answers, and the annotations of gamed models that the published length control needs."""
ANSWERS, ANNOTATIONS, RESULT = "answers.json", "annotations.json", "result.json"
ANNOTATOR = "weighted_alpaca_eval_gpt4_turbo"
CLIENTS = "clients.yaml"
USED = ("win_rate", "standard_error")
"""Of its results, what the package itself goes on with."""
Answers = list[dict[str, Any]]


def run(work: Path, task: dict[str, Any]) -> None:
    """Ask and judge.

    Args:
        work: where the files go.
        task: `references` (rows of the reference's file), `gamed` (path of `df_gamed.csv`, or None), `judge` (a name),
            `max_tokens`, `temperature`, `seed`, `in_flight` (requests at a time), `answers_only` (no judge is asked).
    """
    answers = _ask(task)
    (work / ANSWERS).write_text(json.dumps(answers))
    if not task["answers_only"]:
        _judge(work, task, answers)


def _ask(task: dict[str, Any]) -> Answers:
    """The policy's answers, in order."""
    from openai import APIStatusError, OpenAI

    client = OpenAI(
        base_url=os.environ["POLICY_URL"], api_key=os.environ["POLICY_KEY"], max_retries=0, timeout=REQUEST_SECONDS
    )

    def answer(row: dict[str, Any]) -> dict[str, Any]:
        try:
            found = client.chat.completions.create(
                model=POLICY,
                messages=[{"role": "user", "content": row["instruction"]}],
                max_tokens=task["max_tokens"],
                temperature=task["temperature"],
                seed=task["seed"],
            )
        except APIStatusError as error:
            if error.status_code not in REFUSAL_STATUSES:
                raise
            return {"answer": None, "tokens": None}
        tokens = found.usage.completion_tokens if found.usage else None
        return {"answer": found.choices[0].message.content or "", "tokens": tokens}

    with ThreadPoolExecutor(task["in_flight"]) as threads:
        return list(threads.map(answer, task["references"]))


def _judge(work: Path, task: dict[str, Any], answers: Answers) -> None:
    """Have the answers compared with the reference's, and the win rate computed, by alpaca_eval.

    Instructions whose answer was refused are left out, and so are those that the judge gives no verdict on.
    """
    import pandas
    from alpaca_eval import main as alpaca_eval

    pairs = [(row, said["answer"]) for row, said in zip(task["references"], answers, strict=True)]
    pairs = [(row, answer) for row, answer in pairs if answer is not None]
    if not pairs:
        return
    references = [{"instruction": r["instruction"], "output": r["output"], "generator": "reference"} for r, _ in pairs]
    outputs = [{"instruction": r["instruction"], "output": answer, "generator": POLICY} for r, answer in pairs]
    _patch_the_client()
    _, annotations = alpaca_eval.evaluate(
        model_outputs=pandas.DataFrame(outputs),
        reference_outputs=pandas.DataFrame(references),
        annotators_config=_annotator(work, task),
        output_path=None,
        precomputed_leaderboard=None,
        fn_metric=_win_rates,
        sort_by="win_rate",
        is_return_instead_of_print=True,
        caching_path=None,
    )
    (work / ANNOTATIONS).write_text(json.dumps(annotations, default=float))
    table = pandas.DataFrame(annotations)
    if not table["preference"].notna().any():
        return
    result = {"win_rate": _win_rates(table)["win_rate"]}
    if task["gamed"] is not None and len(table) == len(task["references"]) and table["preference"].notna().all():
        result["length_controlled_winrate"] = _length_controlled(task["gamed"], table)
    (work / RESULT).write_text(json.dumps(result, default=float))


def _win_rates(annotations: Any) -> dict[str, float]:
    """The package's, which fails where there is no preference at all."""
    import pandas
    from alpaca_eval.metrics import get_winrate

    table = pandas.DataFrame(annotations)
    return dict(get_winrate(table)) if table["preference"].notna().any() else dict.fromkeys(USED, math.nan)


def _annotator(work: Path, task: dict[str, Any]) -> str:
    """A copy of the package's annotator that asks our judge; its folder."""
    import yaml
    from alpaca_eval.constants import EVALUATORS_CONFIG_DIR

    found = yaml.safe_load((EVALUATORS_CONFIG_DIR / ANNOTATOR / "configs.yaml").read_text())
    config = found[ANNOTATOR]
    config["prompt_template"] = str(EVALUATORS_CONFIG_DIR / config["prompt_template"])
    config["completions_kwargs"] |= {
        "model_name": task["judge"],
        "requires_chatml": True,  # else it is guessed from the judge's name
        "n_retries": 1,
        "client_kwargs": {"max_retries": 0, "timeout": REQUEST_SECONDS},
        "num_procs": task["in_flight"],
        "price_per_token": 0.0,
    }
    folder = work / ANNOTATOR
    folder.mkdir()
    (folder / "configs.yaml").write_text(yaml.safe_dump(found))
    return str(folder)


class _RefusedError(Exception):
    """The judge's server does not take a request."""


def _patch_the_client() -> None:
    """Let a request that the judge's server refuses be one without a verdict, and all other errors end the run.

    The package ends at most refusals; other errors it takes for an empty answer, depending on words in their message.
    """
    from alpaca_eval.decoders import openai as decoder
    from openai import APIStatusError, OpenAIError
    from openai.resources.chat.completions import Completions

    create: Callable[..., Any] = Completions.create
    ask: Callable[..., list[dict[str, Any]]] = decoder._openai_completion_helper

    def create_or_end(*arguments: Any, **options: Any) -> Any:
        try:
            return create(*arguments, **options)
        except OpenAIError as error:
            if isinstance(error, APIStatusError) and error.status_code in REFUSAL_STATUSES:
                raise _RefusedError from None
            raise UserError(f"the judge's server did not answer: openai.{type(error).__name__}") from None

    def ask_or_pass_over(*arguments: Any, **options: Any) -> list[dict[str, Any]]:
        try:
            return ask(*arguments, **options)
        except _RefusedError:
            return [{"text": "", "total_tokens": 0, "logprobs": {"content": [{"top_logprobs": []}]}}]

    Completions.create = create_or_end  # type: ignore[method-assign]
    decoder._openai_completion_helper = ask_or_pass_over


def _length_controlled(gamed: str, table: Any) -> float:
    """The package's length-controlled win rate, in percent, as published: its regression over all instructions."""
    from alpaca_eval.metrics import glm_winrate

    glm_winrate.hf_hub_download = lambda **which: gamed  # it takes the file from the hub alone
    return float(
        glm_winrate.get_length_controlled_winrate(
            table, save_weights_dir=None, is_add_glm_preference_inplace=False, is_warn_extreme_changes=False
        )["length_controlled_winrate"]
    )


if __name__ == "__main__":
    main_of_child(run)
