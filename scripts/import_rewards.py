"""Import the rewards of imported responses from their dataset: `response_0_reward`, ..., or `reward`."""

import logging
from pathlib import Path

from command_line import add_revisions_flag, program_parser, read_spec, run
from rlhf.dataset_files import is_local, open_dataset
from rlhf.imported_responses import imported_rewards, read_imported
from rlhf.lineage import checked_inputs
from rlhf.parts import read_part
from rlhf.provenance import provenance
from rlhf.responses import ImportSpec
from rlhf.rewards import REWARDS, reward_counts
from rlhf.settings import canonical_json


def main() -> None:
    parser = program_parser(__doc__, ImportSpec)
    parser.add_argument("--prompts", type=Path, required=True, help="prompts.parquet")
    parser.add_argument("--output", type=Path, required=True, help="the rewards, Parquet")
    add_revisions_flag(parser)
    arguments = parser.parse_args()
    spec = read_spec(arguments.spec, ImportSpec)

    prompts = read_part(arguments.prompts, spec.rows, ["prompt_id", "prompt"]).to_pylist()
    opened = open_dataset(spec.dataset, spec.subset, spec.split, spec.revision, arguments.revisions)
    with opened as (dataset, dataset_revision):
        rows = imported_rewards(prompts, read_imported(dataset, prompts, spec, spec.dataset, rewards=True))
    counts = reward_counts(rows)
    logging.info("%s: %s", spec.dataset, canonical_json(counts))
    inputs = checked_inputs(prompts=arguments.prompts, dataset=Path(spec.dataset) if is_local(spec.dataset) else None)
    origin = provenance(__file__, spec, inputs, counts=counts, dataset_revision=dataset_revision)
    REWARDS.write(arguments.output, rows, origin)


if __name__ == "__main__":
    run(main)
