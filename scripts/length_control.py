"""Win rates of policies against one reference, raw and at equal length, with intervals.

Comparisons may be of any origin: Parquet with the columns `policy`, `prompt_id`, `preference` (for the policy over the
reference, 0 to 1), `length` and `reference_length`, and `judge` where there are several. The difficulty of a prompt is
estimated from all other policies in the files, so more of them give a better estimate. All policies are also compared
with each other: which of them are better than which, after correction for so many comparisons.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from command_line import add_output_flag, parse_arguments, program_parser, run
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.evaluation.bootstrap import bootstrap_interval
from rlhf.evaluation.comparisons import Comparisons, read_comparisons
from rlhf.evaluation.difficulty import prompt_difficulty
from rlhf.evaluation.length_control import length_controlled
from rlhf.evaluation.paired.ranking import Ranking, ranking
from rlhf.evaluation.schema import LENGTH_CONTROL
from rlhf.evaluation.settings import LengthControlSpec
from rlhf.machine.progress import Progress

LOGGER = logging.getLogger("length_control")


def main() -> None:
    parser = program_parser(__doc__, LengthControlSpec, default="{}")
    parser.add_argument("--comparisons", type=Path, nargs="+", required=True, help="comparisons with one reference")
    parser.add_argument(
        "--difficulty-comparisons",
        type=Path,
        nargs="*",
        default=[],
        help="comparisons of further policies on the same prompts, for the difficulty of the prompts alone",
    )
    add_output_flag(parser, "win rates by judge and policy")
    arguments, spec = parse_arguments(parser, LengthControlSpec)
    inputs = checked_inputs(comparisons=arguments.comparisons, difficulty_comparisons=arguments.difficulty_comparisons)

    compared = read_comparisons(arguments.comparisons)
    # Each by itself: policies of different experiments may have the same name.
    further = [read_comparisons([path]) for path in arguments.difficulty_comparisons]
    rows = []
    with Progress(sum(map(len, compared.values())), "policies", "controlling") as progress:
        for judge, policies in compared.items():
            ranked = ranking(policies, spec.confidence)
            for policy, found in policies.items():
                others = [other for name, other in policies.items() if name != policy]
                others += [other for file in further for other in file.get(judge, {}).values()]
                row = {"judge": judge, "policy": policy, **control(spec, found, others)}
                rows.append({**row, **rank(policy, ranked, len(policies))})
                LOGGER.info("%s", describe(rows[-1]))
                progress.advance(1)
    LENGTH_CONTROL.write(arguments.output, rows, provenance(__file__, spec, inputs))


def control(spec: LengthControlSpec, found: Comparisons, others: Sequence[Comparisons]) -> dict[str, Any]:
    """The win rates of one policy: a row of `LENGTH_CONTROL`, without its key."""
    rates = found.prompt_preferences
    low, high = bootstrap_interval(rates, spec.bootstrap_samples, spec.confidence, spec.seed)
    difficulty, policies = prompt_difficulty(found.prompts[0], others)
    controlled = length_controlled(found, difficulty, spec.confidence)
    return {
        "prompts": len(rates),
        "win_rate": float(rates.mean()),
        "win_rate_low": low,
        "win_rate_high": high,
        "length_controlled_win_rate": controlled.rate,
        "length_controlled_low": controlled.low,
        "length_controlled_high": controlled.high,
        "difficulty_from": policies,
        "unknown": controlled.unknown,
    }


def rank(policy: str, ranked: Ranking | None, policies: int) -> dict[str, int]:
    """How a policy stands among the others and `base`."""
    return {
        "compared": policies + 1,
        "common_prompts": ranked.prompts if ranked else 0,
        "better_than": ranked.better_than[policy] if ranked else 0,
        "length_controlled_better_than": ranked.length_controlled_better_than[policy] if ranked else 0,
    }


def describe(row: dict[str, Any]) -> str:
    """A line for the log."""
    controlled = (
        f"none: {row['unknown']}"
        if row["length_controlled_win_rate"] is None
        else f"{row['length_controlled_win_rate']:.1%} [{row['length_controlled_low']:.1%}, "
        f"{row['length_controlled_high']:.1%}]"
    )
    return (
        f"{row['policy']} by {row['judge']}: wins {row['win_rate']:.1%} [{row['win_rate_low']:.1%}, "
        f"{row['win_rate_high']:.1%}], length-controlled {controlled}; difficulty of {row['prompts']} prompts from "
        f"{row['difficulty_from']} other policies"
    )


if __name__ == "__main__":
    run(main)
