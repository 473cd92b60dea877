"""Evaluate a policy against base on the test prompts, by the training reward and by an independent judge.

One row per judge: mean reward, win rate with its bootstrap interval, tokens per response, share of responses cut at the
length limit. Base against itself gets a win rate of exactly one half. The comparisons behind the win rates are written
too, a row per draw: `length_control` reads them.
"""

import logging
import math
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from command_line import add_output_flag, parse_arguments, program_parser, run
from rlhf.base.errors import UserError
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.evaluation.bootstrap import bootstrap_interval
from rlhf.evaluation.comparison_rows import comparison_rows
from rlhf.evaluation.duels import Duels, duels, prompt_win_rates
from rlhf.evaluation.schema import COMPARISONS, EVALUATION
from rlhf.evaluation.scored_responses import ScoredResponses, read_scored_responses
from rlhf.evaluation.settings import EvaluateSpec
from rlhf.models.commits import common_commits

LOGGER = logging.getLogger("evaluate_policy")


def main() -> None:
    arguments, spec = parse_arguments(parser(), EvaluateSpec)
    inputs = checked_inputs(**{flag: getattr(arguments, flag) for flag in FILES})
    for files in (arguments.rewards + arguments.base_rewards, arguments.judgements + arguments.base_judgements):
        common_commits(files)
    rows, counts, compared = [], {}, []
    for judge, (policy, base) in read_judges(arguments).items():
        found = duels(policy, base)
        row, counts[judge] = evaluate(spec, judge, policy, found)
        rows.append(row)
        compared.append(comparison_rows(judge, spec.policy, policy, base, found))
        LOGGER.info("%s", describe(row, counts[judge]))
    origin = provenance(__file__, spec, inputs, counts=counts)
    COMPARISONS.write(arguments.comparisons, pa.concat_tables(compared), origin)
    EVALUATION.write(arguments.output, rows, origin)


FILES = {
    "responses": "the policy's responses to the test prompts, one file per part",
    "rewards": "their rewards",
    "judgements": "their scores by the independent judge, if there is one",
    "base_responses": "the responses of base (of base itself: the same files)",
    "base_rewards": "their rewards",
    "base_judgements": "their scores by the independent judge",
}


def parser() -> ArgumentParser:
    made = program_parser(__doc__, EvaluateSpec)
    for flag, text in FILES.items():
        optional = flag.endswith("judgements")
        made.add_argument(
            f"--{flag.replace('_', '-')}",
            type=Path,
            nargs="*" if optional else "+",
            required=not optional,
            default=[],
            help=text,
        )
    add_output_flag(made, "the evaluation")
    made.add_argument("--comparisons", type=Path, required=True, help="the comparisons with base to write, Parquet")
    return made


def read_judges(arguments: Namespace) -> dict[str, tuple[ScoredResponses, ScoredResponses]]:
    """The scored responses of the policy and of base, by the name of who scored them.

    Raises:
        UserError: judgements of one side only.
    """
    if bool(arguments.judgements) != bool(arguments.base_judgements):
        raise UserError("judgements of one side only: give both --judgements and --base-judgements, or neither")
    scores = {"reward": (arguments.rewards, arguments.base_rewards)}
    if arguments.judgements:
        scores["judge"] = (arguments.judgements, arguments.base_judgements)
    policy = read_scored_responses(arguments.responses, {judge: paths[0] for judge, paths in scores.items()})
    base = read_scored_responses(arguments.base_responses, {judge: paths[1] for judge, paths in scores.items()})
    return {judge: (policy[judge], base[judge]) for judge in scores}


def evaluate(
    spec: EvaluateSpec, judge: str, policy: ScoredResponses, found: Duels
) -> tuple[dict[str, Any], dict[str, int]]:
    """A row of the evaluation, and how many prompts and draws took part."""
    rates = prompt_win_rates(found)
    low, high = bootstrap_interval(rates, spec.bootstrap_samples, spec.confidence, spec.seed)
    draws, scores = policy.draws, policy.valid()
    row = {
        "policy": spec.policy,
        "judge": judge,
        "mean_reward": math.fsum(scores.to_numpy()) / len(scores),
        "win_rate": float(rates.mean()),
        "win_rate_low": low,
        "win_rate_high": high,
        "mean_tokens": pc.sum(draws["tokens"]).as_py() / len(draws),
        "truncated": pc.sum(draws["truncated"]).as_py() / len(draws),
    }
    prompts = len(policy.prompt_ids)
    counts = {
        "prompts": prompts,
        "prompts_without_valid_draws": prompts - len(found.counts),
        "draws": len(draws),
        "draws_without_score": len(draws) - len(scores),
        "duels": len(found.wins),
    }
    return row, counts


def describe(row: dict[str, Any], counts: dict[str, int]) -> str:
    """A line for the log."""
    return (
        f"{row['policy']} by {row['judge']}: wins {row['win_rate']:.1%} [{row['win_rate_low']:.1%}, "
        f"{row['win_rate_high']:.1%}] on {counts['prompts'] - counts['prompts_without_valid_draws']} of "
        f"{counts['prompts']} prompts, mean {row['mean_reward']:.4g}; left out for want of a valid score: "
        f"{counts['prompts_without_valid_draws']} prompts, {counts['draws_without_score']} of {counts['draws']} draws"
    )


if __name__ == "__main__":
    run(main)
