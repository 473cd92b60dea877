"""Build the preference pairs of a part: a chosen and a rejected response per prompt."""

import logging
from pathlib import Path

from command_line import add_output_flag, add_prompts_flag, log_counts, parse_arguments, program_parser, run
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.models.commits import common_commits
from rlhf.pairs.building import build
from rlhf.pairs.none_left import require_pairs
from rlhf.pairs.schema import PAIRS
from rlhf.pairs.settings import PairSpec
from rlhf.prompts.schema import read_part
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.schema import REWARDS


def main() -> None:
    parser = program_parser(__doc__, PairSpec)
    add_prompts_flag(parser)
    parser.add_argument("--responses", type=Path, required=True, help="the responses of the part, Parquet")
    parser.add_argument("--rewards", type=Path, required=True, help="the rewards of the part, Parquet")
    add_output_flag(parser, "the pairs")
    arguments, spec = parse_arguments(parser, PairSpec)

    inputs = checked_inputs(prompts=arguments.prompts, responses=arguments.responses, rewards=arguments.rewards)
    revisions = common_commits([arguments.responses, arguments.rewards])
    pairs = build(
        read_part(arguments.prompts, spec.rows),
        RESPONSES.read(arguments.responses),
        REWARDS.read(arguments.rewards),
        spec,
        responses_path=arguments.responses,
        rewards_path=arguments.rewards,
    )
    log_counts(arguments.output, pairs.counts, logging.INFO if len(pairs.table) else logging.WARNING)
    require_pairs(pairs.counts, spec, str(arguments.output))
    origin = provenance(__file__, spec, inputs, counts=pairs.counts, revisions=revisions)
    PAIRS.write(arguments.output, pairs.table, origin)


if __name__ == "__main__":
    run(main)
