"""Import the preference pairs of a part from a dataset that holds them ready-made."""

import logging
from pathlib import Path

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
from rlhf.models.source import model_location, resolved_revision
from rlhf.models.tokenizers import load_tokenizer
from rlhf.pairs.imported.none_left import require_imported_pairs
from rlhf.pairs.imported.responses import Encoder
from rlhf.pairs.imported.rows import pair_table, read_pairs
from rlhf.pairs.imported.settings import ImportPairsSpec
from rlhf.pairs.schema import PAIRS, UNSCORED_PAIRS
from rlhf.prompts.schema import read_part, read_prompts


def main() -> None:
    parser = program_parser(__doc__, ImportPairsSpec)
    add_prompts_flag(parser)
    parser.add_argument(
        "--tokenizer",
        type=Path,
        nargs="?",
        help="the folder of the policy (default: the spec's model)",
    )
    add_output_flag(parser, "the pairs")
    add_revisions_flag(parser)
    arguments, spec = parse_arguments(parser, ImportPairsSpec)
    model, model_revision = model_location(arguments.tokenizer, spec.model, arguments.revisions)

    tokenizer = load_tokenizer(model, model_revision)
    encoder = Encoder(tokenizer, spec.thoughts(tokenizer))
    prompts = read_prompts(arguments.prompts, spec.rows)
    token_ids = read_part(arguments.prompts, spec.rows, ["prompt_token_ids"])["prompt_token_ids"]
    opened = open_dataset(spec.dataset, spec.subset, spec.split, spec.revision, arguments.revisions)
    with opened as (dataset, dataset_revision):
        found = read_pairs(dataset, prompts, token_ids, spec, encoder)
    log_counts(arguments.output, found.counts, logging.INFO if found.rows else logging.WARNING)
    require_imported_pairs(found.counts, spec)
    inputs = checked_inputs(prompts=arguments.prompts, tokenizer=arguments.tokenizer)
    inputs |= dataset_input(spec.dataset)
    commit = resolved_revision(model, model_revision)
    revisions = {} if commit is None else {"policy": commit}
    origin = provenance(
        __file__,
        spec,
        inputs,
        spec.thought_modules,
        counts=found.counts,
        dataset_revision=dataset_revision,
        revisions=revisions,
    )
    (PAIRS if spec.scores else UNSCORED_PAIRS).write(arguments.output, pair_table(found, spec), origin)


if __name__ == "__main__":
    run(main)
