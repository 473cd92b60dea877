"""Build the examples of a part: responses that are desirable or undesirable by their rewards."""

import logging
from pathlib import Path

from command_line import add_output_flag, add_prompts_flag, log_counts, parse_arguments, program_parser, run
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.examples.building import build, in_words, require_both_kinds
from rlhf.examples.schema import EXAMPLES
from rlhf.examples.settings import ExampleSpec
from rlhf.models.commits import common_commits
from rlhf.prompts.schema import read_part
from rlhf.responses.schema import read_responses
from rlhf.rewards.schema import REWARDS

LOGGER = logging.getLogger("build_examples")


def main() -> None:
    parser = program_parser(__doc__, ExampleSpec)
    add_prompts_flag(parser)
    parser.add_argument("--responses", type=Path, required=True, help="the responses of the part, Parquet")
    parser.add_argument("--rewards", type=Path, required=True, help="their rewards, Parquet")
    add_output_flag(parser, "the examples")
    arguments, spec = parse_arguments(parser, ExampleSpec)

    responses, rewards = arguments.responses, arguments.rewards
    inputs = checked_inputs(prompts=arguments.prompts, responses=responses, rewards=rewards)
    revisions = common_commits([responses, rewards])
    found = build(
        read_part(arguments.prompts, spec.rows),
        read_responses(responses),
        REWARDS.read(rewards),
        responses,
        rewards,
        spec,
    )
    log_counts(arguments.output, found.counts, logging.INFO if len(found.table) else logging.WARNING)
    LOGGER.info("rewards: %s", in_words(found.quantiles))
    require_both_kinds(found, spec, str(arguments.output))
    origin = provenance(
        __file__, spec, inputs, counts=found.counts, reward_quantiles=found.quantiles, revisions=revisions
    )
    EXAMPLES.write(arguments.output, found.table, origin)


if __name__ == "__main__":
    run(main)
