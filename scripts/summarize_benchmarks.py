"""The scores of all policies on all benchmarks: means with intervals, win rates at equal length, differences to `base`.

Win rates of AlpacaEval 2 and Arena-Hard are also given at equal length, with the difficulty of each question estimated
from the other policies. Differences to `base` are paired: over the questions that both have a score of.
"""

import logging
from pathlib import Path
from typing import Any

from command_line import add_output_flag, parse_arguments, program_parser, run
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.benchmarks.schema import SUMMARY
from rlhf.benchmarks.settings import SummarySpec
from rlhf.benchmarks.summary import read_result, summary_rows

LOGGER = logging.getLogger("summarize_benchmarks")


def main() -> None:
    parser = program_parser(__doc__, SummarySpec)
    parser.add_argument("--benchmarks", type=Path, nargs="+", required=True, help="of each policy and benchmark")
    add_output_flag(parser, "a row per policy, benchmark and metric")
    arguments, spec = parse_arguments(parser, SummarySpec)
    inputs = checked_inputs(benchmarks=arguments.benchmarks)
    rows = list(summary_rows(map(read_result, arguments.benchmarks), spec))
    for row in rows:
        LOGGER.info("%s", describe(row))
    SUMMARY.write(arguments.output, rows, provenance(__file__, spec, inputs))


def describe(row: dict[str, Any]) -> str:
    """A line for the log."""
    score = f"none: {row['unknown']}" if row["score"] is None else f"{row['score']:.4g}"
    return (
        f"{row['policy']} on {row['benchmark']}, {row['metric']}: {score}; {row['questions']} questions, "
        f"{row['without_score']} without a score"
    )


if __name__ == "__main__":
    run(main)
