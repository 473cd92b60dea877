"""Import the rewards of imported responses from the same dataset: `response_0_reward`, ..., or `reward`."""

from command_line import (
    add_output_flag,
    add_prompts_flag,
    add_revisions_flag,
    log_counts,
    parse_arguments,
    program_parser,
    run,
)
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.datasets.files import dataset_input, open_dataset
from rlhf.prompts.schema import read_part
from rlhf.responses.imported import read_imported
from rlhf.responses.settings import ImportSpec
from rlhf.rewards.imported import imported_rewards
from rlhf.rewards.schema import REWARDS, reward_counts


def main() -> None:
    parser = program_parser(__doc__, ImportSpec)
    add_prompts_flag(parser)
    add_output_flag(parser, "the rewards")
    add_revisions_flag(parser)
    arguments, spec = parse_arguments(parser, ImportSpec)

    prompts = read_part(arguments.prompts, spec.rows, ["prompt_id", "prompt"]).to_pylist()
    opened = open_dataset(spec.dataset, spec.subset, spec.split, spec.revision, arguments.revisions)
    with opened as (dataset, dataset_revision):
        rows = imported_rewards(prompts, read_imported(dataset, prompts, spec, spec.dataset, rewards=True))
    counts = reward_counts(rows)
    log_counts(spec.dataset, counts)
    inputs = checked_inputs(prompts=arguments.prompts) | dataset_input(spec.dataset)
    origin = provenance(__file__, spec, inputs, counts=counts, dataset_revision=dataset_revision)
    REWARDS.write(arguments.output, rows, origin)


if __name__ == "__main__":
    run(main)
