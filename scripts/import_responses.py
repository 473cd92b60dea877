"""Import responses to a part of the prompts from a dataset: `response_0`, `response_1`, ..., or one row each."""

from command_line import (
    add_output_flag,
    add_policy_flag,
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
from rlhf.machine.progress import track
from rlhf.models.source import model_location, resolved_revision
from rlhf.models.tokenizers import load_tokenizer
from rlhf.prompts.schema import read_part
from rlhf.responses.imported import imported_rows, read_imported
from rlhf.responses.schema import RESPONSES, VISIBLE_RESPONSES
from rlhf.responses.settings import ImportResponsesSpec


def main() -> None:
    parser = program_parser(__doc__, ImportResponsesSpec)
    add_prompts_flag(parser)
    add_policy_flag(parser)
    add_output_flag(parser, "the responses")
    add_revisions_flag(parser)
    arguments, spec = parse_arguments(parser, ImportResponsesSpec)
    model, model_revision = model_location(arguments.policy, spec.model, arguments.revisions)

    tokenizer = load_tokenizer(model, model_revision)
    thoughts = spec.thoughts(tokenizer)
    prompts = read_part(arguments.prompts, spec.rows, ["prompt_id", "prompt", "prompt_token_ids"]).to_pylist()
    opened = open_dataset(spec.dataset, spec.subset, spec.split, spec.revision, arguments.revisions)
    with opened as (dataset, dataset_revision):
        imported = read_imported(dataset, prompts, spec, spec.dataset, rewards=False)
    total = sum(map(len, imported.draws))
    found = imported_rows(prompts, imported, tokenizer, spec.max_tokens, thoughts)
    rows = list(track(found, total, "responses", "imported"))
    hidden = {}
    if thoughts is not None:
        shown = thoughts.hidden(rows, {prompt["prompt_id"]: prompt["prompt_token_ids"] for prompt in prompts})
        rows, hidden = shown.rows, {"unfinished_thoughts": shown.unfinished}

    truncated = sum(row["finish_reason"] == "length" for row in rows)
    counts = {"prompts": len(prompts), "responses": len(rows), "truncated": truncated, **hidden, **imported.counts}
    log_counts(spec.dataset, counts)
    inputs = checked_inputs(prompts=arguments.prompts, policy=arguments.policy) | dataset_input(spec.dataset)
    origin = provenance(
        __file__,
        spec,
        inputs,
        spec.thought_modules,
        counts=counts,
        dataset_revision=dataset_revision,
        model_revision=resolved_revision(model, model_revision),
    )
    (RESPONSES if thoughts is None else VISIBLE_RESPONSES).write(arguments.output, rows, origin)


if __name__ == "__main__":
    run(main)
