"""Build the preference pairs of a part: a chosen and a rejected response of each prompt, or several such pairs."""

import logging
from pathlib import Path

from command_line import add_output_flag, add_prompts_flag, log_counts, parse_arguments, program_parser, run
from rlhf.base.artifacts import ArtifactError
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.models.commits import common_commits
from rlhf.pairs.building import build
from rlhf.pairs.none_left import require_pairs
from rlhf.pairs.pool import Sampled
from rlhf.pairs.schema import artifact_of_pairs
from rlhf.pairs.settings import PairSpec
from rlhf.prompts.schema import read_part
from rlhf.responses.schema import read_responses
from rlhf.rewards.schema import REWARDS


def main() -> None:
    parser = program_parser(__doc__, PairSpec)
    add_prompts_flag(parser)
    parser.add_argument(
        "--responses", type=Path, nargs="+", required=True, help="the responses of the part, Parquet; a file per policy"
    )
    parser.add_argument(
        "--rewards", type=Path, nargs="+", required=True, help="their rewards, Parquet, in the same order"
    )
    add_output_flag(parser, "the pairs")
    arguments, spec = parse_arguments(parser, PairSpec)

    files = list(zip(arguments.responses, arguments.rewards, strict=False))
    require_files_of_pool(arguments.responses, arguments.rewards, spec)
    for responses, rewards in files:
        checked_inputs(prompts=arguments.prompts, responses=responses, rewards=rewards)
    revisions = common_commits([*arguments.responses, *arguments.rewards])
    members = [Sampled(read_responses(own), REWARDS.read(scored), own, scored) for own, scored in files]
    pairs = build(read_part(arguments.prompts, spec.rows), members, spec)
    log_counts(arguments.output, pairs.counts, logging.INFO if len(pairs.table) else logging.WARNING)
    require_pairs(pairs.counts, spec, str(arguments.output))
    inputs = {"prompts": arguments.prompts, "responses": arguments.responses, "rewards": arguments.rewards}
    if not spec.pool:  # a file, not a list of one: the pairs of one policy state what they always have
        inputs |= {"responses": arguments.responses[0], "rewards": arguments.rewards[0]}
    origin = provenance(__file__, spec, inputs, counts=pairs.counts, revisions=revisions)
    artifact = artifact_of_pairs(pooled=bool(spec.pool), per_prompt=spec.per_prompt)
    artifact.write(arguments.output, pairs.table, origin)


def require_files_of_pool(responses: list[Path], rewards: list[Path], spec: PairSpec) -> None:
    """Raise ArtifactError unless there is a file of responses and one of rewards for each policy of the pool."""
    policies = max(1, len(spec.pool))
    if len(responses) != policies or len(rewards) != policies:
        raise ArtifactError(
            f"--responses names {len(responses)} file(s) and --rewards {len(rewards)}: the pairs are of "
            f"{policies} policy(s) ({', '.join(spec.pool) or 'one'}), so give as many of both, in the order of `pool`"
        )


if __name__ == "__main__":
    run(main)
