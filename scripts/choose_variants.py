"""Choose the points of a sweep that are trained in full, by comparisons with base on the selection prompts.

Every point is compared with the default one: paired by prompt, at equal length, with the noise between runs of the same
settings, corrected for the number of points. A point goes before the default only if it is significantly better.
"""

import logging
from pathlib import Path

from command_line import add_output_flag, parse_arguments, program_parser, run
from rlhf.base.errors import UserError
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.evaluation.comparisons import read_comparisons
from rlhf.evaluation.paired.choice import choose
from rlhf.evaluation.paired.settings import ChooseSpec
from rlhf.evaluation.schema import SWEEP

LOGGER = logging.getLogger("choose_variants")


def main() -> None:
    parser = program_parser(__doc__, ChooseSpec)
    parser.add_argument("--comparisons", type=Path, nargs="+", required=True, help="of the sweep's policies with base")
    add_output_flag(parser, "the points, and which are promoted")
    arguments, spec = parse_arguments(parser, ChooseSpec)
    inputs = checked_inputs(comparisons=arguments.comparisons)
    compared = read_comparisons(arguments.comparisons)
    if spec.judge not in compared:
        raise UserError(f"no comparisons by {spec.judge!r}: the files have those by {', '.join(sorted(compared))}")
    rows, facts = choose(spec, compared[spec.judge])
    for row in sorted((row for row in rows if row["promoted"]), key=lambda row: row["promoted"]):
        LOGGER.info("promoted: %s (%s)", row["name"], reason(row))
    SWEEP.write(arguments.output, rows, provenance(__file__, spec, inputs, **facts))


def reason(row: dict[str, object]) -> str:
    """Why a point is promoted."""
    if row["default"]:
        return "the default"
    return f"{row['difference']:+.1%} to the default, corrected p {row['corrected_p_value']:.2g}"


if __name__ == "__main__":
    run(main)
