"""Import the responses to a part of the prompts from a local file with `prompt`, `response_0`, `response_1`, ..."""

import logging
from pathlib import Path

from command_line import program_parser, read_spec, run
from rlhf.dataset_files import open_file, require_columns
from rlhf.imported_responses import check_responses, imported_rows, match_rows, response_columns
from rlhf.models import load_tokenizer, model_location, resolved_revision
from rlhf.parts import read_part
from rlhf.progress import track
from rlhf.provenance import provenance
from rlhf.responses import RESPONSES, ImportSpec
from rlhf.settings import canonical_json


def main() -> None:
    parser = program_parser(__doc__, ImportSpec)
    parser.add_argument("--prompts", type=Path, required=True, help="prompts.parquet")
    parser.add_argument("--policy", type=Path, nargs="?", help="the policy's folder (default: the spec's model)")
    parser.add_argument("--output", type=Path, required=True, help="the responses, Parquet")
    arguments = parser.parse_args()
    spec = read_spec(arguments.spec, ImportSpec)
    model, model_revision = model_location(arguments.policy, spec.model)

    tokenizer = load_tokenizer(model, model_revision)
    prompts = read_part(arguments.prompts, spec.rows).to_pylist()
    names = response_columns(spec.draws)
    with open_file(Path(spec.dataset)) as dataset:
        require_columns(dataset, ["prompt", *names], spec.dataset)
        matched = match_rows(dataset["prompt"], prompts, spec.dataset)
        columns = dataset.select_columns(names)[matched]
    check_responses(columns, matched, spec.dataset)
    draws = track(zip(*(columns[name] for name in names), strict=True), len(prompts), "prompts", "imported responses")
    rows = list(imported_rows(prompts, draws, tokenizer, spec.max_tokens))

    truncated = sum(row["finish_reason"] == "length" for row in rows)
    counts = {"prompts": len(prompts), "responses": len(rows), "truncated": truncated}
    logging.info("%s: %s", spec.dataset, canonical_json(counts))
    inputs = {
        "prompts": arguments.prompts,
        "dataset": Path(spec.dataset),
        **({"policy": arguments.policy} if arguments.policy else {}),
    }
    commit = resolved_revision(model, model_revision)
    RESPONSES.write(arguments.output, rows, provenance(__file__, spec, inputs, counts=counts, model_revision=commit))


if __name__ == "__main__":
    run(main)
