"""Build the preference pairs of a part: two responses of each prompt, the chosen and the rejected."""

import logging
from pathlib import Path

from command_line import parse_arguments, program_parser, run
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.base.settings import canonical_json
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
    parser.add_argument("--prompts", type=Path, required=True, help="prompts.parquet")
    parser.add_argument("--responses", type=Path, required=True, help="the responses of the part, Parquet")
    parser.add_argument("--rewards", type=Path, required=True, help="the rewards of the part, Parquet")
    parser.add_argument("--output", type=Path, required=True, help="the pairs, Parquet")
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
    level = logging.INFO if len(pairs.table) else logging.WARNING
    logging.log(level, "%s: %s", arguments.output, canonical_json(pairs.counts))
    require_pairs(pairs.counts, spec, str(arguments.output))
    origin = provenance(__file__, spec, inputs, counts=pairs.counts, revisions=revisions)
    PAIRS.write(arguments.output, pairs.table, origin)


if __name__ == "__main__":
    run(main)
