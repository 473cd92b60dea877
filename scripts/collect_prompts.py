"""Collect the prompts of a dataset: normalised, deduplicated, filtered by length and ordered by hash."""

from __future__ import annotations

from argparse import Namespace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from command_line import add_output_flag, add_revisions_flag, log_counts, parse_arguments, program_parser, run
from rlhf.base.errors import UserError
from rlhf.base.lineage import Files, checked_inputs
from rlhf.base.provenance import provenance
from rlhf.datasets.files import dataset_input, is_text, open_dataset, require_columns
from rlhf.datasets.folders import is_local
from rlhf.machine.progress import track
from rlhf.models.round_trip import check_round_trip
from rlhf.models.source import model_location, resolved_revision
from rlhf.models.tokenizers import check_vocabulary, load_tokenizer
from rlhf.prompts.collection import collect
from rlhf.prompts.schema import CHATS, CONTAMINATION, PROMPTS
from rlhf.prompts.settings import CollectSpec
from rlhf.prompts.split_sizes import require_split_sizes
from rlhf.tokens.templates import require_options

if TYPE_CHECKING:
    from datasets import Dataset

    from rlhf.base.artifacts import Artifact
    from rlhf.prompts.contamination import Contamination


def main() -> None:
    parser = program_parser(__doc__, CollectSpec)
    parser.add_argument("--dataset", type=Path, nargs="?", help="Parquet or JSON lines (default: the spec's dataset)")
    parser.add_argument(
        "--base-model", type=Path, nargs="?", help="folder of the base model (default: the spec's model)"
    )
    for split in ("train", "test"):
        parser.add_argument(f"--{split}", type=int, default=0, help=f"size of the {split} split, which must be reached")
    parser.add_argument(
        "--contamination", type=Path, nargs="?", help="Parquet for the prompts that `decontaminate` in --spec drops"
    )
    add_output_flag(parser, "the prompts")
    add_revisions_flag(parser)
    arguments, spec = parse_arguments(parser, CollectSpec)
    model, model_revision = model_location(arguments.base_model, spec.model, arguments.revisions)
    name = arguments.dataset or spec.dataset
    if name is None:
        raise UserError("no dataset: give a file with --dataset, or `dataset` in --spec")
    where = str(name)

    tokenizer = load_tokenizer(model, model_revision)
    check_vocabulary(tokenizer, model, model_revision)
    check_round_trip(tokenizer)
    require_options(tokenizer, spec.template)
    contamination = open_benchmarks(spec, arguments)
    opened = open_dataset(name, spec.subset, spec.split, spec.revision, arguments.revisions)
    with opened as (dataset, dataset_revision):
        rows, artifact = open_rows(dataset, spec, where)
        collection = collect(track(rows, len(dataset), "rows", "prompts"), tokenizer, spec, artifact, contamination)
    log_counts(where, collection.counts)
    require_split_sizes(collection.kept.count, arguments.train, arguments.test, where, collection.dropped)
    origin = provenance(
        __file__,
        spec,
        inputs_of(spec, name, arguments.base_model),
        spec.modules,
        counts=collection.counts,
        dataset_revision=dataset_revision,
        model_revision=resolved_revision(model, model_revision),
        **({"benchmark_revisions": contamination.revisions} if contamination else {}),
        **({"chats": True} if artifact is CHATS else {}),
    )
    if contamination:
        CONTAMINATION.write(arguments.contamination, contamination.table, origin)
    artifact.write_tables(arguments.output, collection.kept.tables(), origin)


def open_rows(dataset: Dataset, spec: CollectSpec, where: str) -> tuple[Dataset, Artifact]:
    """The columns that are read, and the artifact: `PROMPTS` where all prompts are texts without more to say.

    Raises:
        UserError: a column is missing.
    """
    remedy = "Set it to the column of the prompts."
    require_columns(dataset.column_names, [spec.column], f"prompts.column: {where}", remedy)
    require_columns(dataset.column_names, spec.keep, f"prompts.keep: {where}", "Name columns that there are.")
    plain = is_text(dataset, spec.column) and not spec.keep and spec.system is None
    return dataset.select_columns(list(dict.fromkeys([spec.column, *spec.keep]))), PROMPTS if plain else CHATS


def open_benchmarks(spec: CollectSpec, arguments: Namespace) -> Contamination | None:
    """The benchmarks of the spec; None if it has none: then neither their code nor its library is imported."""
    if not spec.modules:
        return None
    if arguments.contamination is None:
        raise UserError("no file for the prompts that `decontaminate` in --spec drops: give one with --contamination")
    (module,) = spec.modules
    found: Contamination = import_module(module).open_benchmarks(spec.decontaminate, arguments.revisions)
    return found


def inputs_of(spec: CollectSpec, dataset: str | Path, base_model: Path | None) -> Files:
    """The local files that are read."""
    benchmarks = [Path(found.dataset) for found in spec.decontaminate if is_local(found.dataset)]
    return checked_inputs(base_model=base_model, benchmarks=benchmarks) | dataset_input(str(dataset))


if __name__ == "__main__":
    run(main)
