"""Collect the prompts of a dataset: normalised, each once, short enough for the policy, ordered by hash."""

import logging
from pathlib import Path

from command_line import add_revisions_flag, program_parser, read_spec, run
from rlhf.dataset_files import is_local, open_dataset, require_columns
from rlhf.errors import UserError
from rlhf.models import check_vocabulary, load_tokenizer, model_location, resolved_revision
from rlhf.progress import track
from rlhf.prompt_collection import Collection, collect
from rlhf.prompts import PROMPTS, CollectSpec, require_split_sizes
from rlhf.provenance import provenance
from rlhf.settings import canonical_json


def main() -> None:
    parser = program_parser(__doc__, CollectSpec)
    parser.add_argument("--dataset", type=Path, nargs="?", help="Parquet or JSON lines (default: the spec's dataset)")
    parser.add_argument("--policy", type=Path, nargs="?", help="the policy's folder (default: the spec's model)")
    parser.add_argument("--train", type=int, default=0, help="prompts that the train split takes from the start")
    parser.add_argument("--test", type=int, default=0, help="prompts that the test split takes from the end")
    parser.add_argument("--output", type=Path, required=True, help="the prompts, Parquet")
    add_revisions_flag(parser)
    arguments = parser.parse_args()
    spec = read_spec(arguments.spec, CollectSpec)
    model, model_revision = model_location(arguments.policy, spec.model, arguments.revisions)
    name = arguments.dataset or spec.dataset
    if name is None:
        raise UserError("no dataset: give a file by --dataset, or `dataset` in --spec")
    where = str(name)

    tokenizer = load_tokenizer(model, model_revision)
    check_vocabulary(tokenizer, model, model_revision)
    opened = open_dataset(name, spec.subset, spec.split, spec.revision, arguments.revisions)
    with opened as (dataset, dataset_revision):
        require_columns(dataset, [spec.column], where, "Set `prompts.column`.")
        texts = track(dataset[spec.column], len(dataset), "rows", "prompts")
        collection = collect(texts, tokenizer, seed=spec.seed, system=spec.system, max_tokens=spec.max_tokens)
    logging.info("%s: %s", where, canonical_json(collection.counts))
    require_prompts(collection, arguments.train, arguments.test, where)
    inputs = {
        **({"dataset": Path(name)} if is_local(where) else {}),
        **({"policy": arguments.policy} if arguments.policy else {}),
    }
    origin = provenance(
        __file__,
        spec,
        inputs,
        counts=collection.counts,
        dataset_revision=dataset_revision,
        model_revision=resolved_revision(model, model_revision),
    )
    PROMPTS.write(arguments.output, collection.table, origin)


def require_prompts(collection: Collection, train: int, test: int, where: str) -> None:
    """Raise UserError, with what was dropped, where fewer prompts are left than the splits take, or none."""
    dropped = ", ".join(f"{count} {reason}" for reason, count in collection.dropped.items())
    prompts = len(collection.table)
    require_split_sizes(prompts, train, test, f"{where} (dropped: {dropped})")
    if not prompts:
        raise UserError(f"{where}: no prompt is left (dropped: {dropped})")


if __name__ == "__main__":
    run(main)
