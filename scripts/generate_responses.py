"""Sample a policy's responses to a part of the prompts."""

from command_line import (
    add_model_flags,
    add_output_flag,
    add_policy_flag,
    add_prompts_flag,
    log_counts,
    parse_arguments,
    program_parser,
    run,
)
from rlhf.base.choices import import_choice
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.machine.choices import budget_or_default
from rlhf.machine.device import granted_device
from rlhf.machine.progress import Progress
from rlhf.models.pretrained import context_length
from rlhf.models.source import model_location, resolved_revision
from rlhf.models.tokenizers import load_tokenizer
from rlhf.prompts.schema import read_part
from rlhf.responses.engine import Engine, Request, SamplingJob, check_context
from rlhf.responses.schema import RESPONSES, VISIBLE_RESPONSES, draw_seed, response_rows
from rlhf.responses.settings import GenerateSpec


def main() -> None:
    parser = program_parser(__doc__, GenerateSpec)
    add_prompts_flag(parser)
    add_policy_flag(parser)
    add_output_flag(parser, "the responses")
    add_model_flags(parser)
    arguments, spec = parse_arguments(parser, GenerateSpec)
    inputs = checked_inputs(prompts=arguments.prompts, policy=arguments.policy)
    name, revision = model_location(arguments.policy, spec.model, arguments.revisions)

    prompts = read_part(arguments.prompts, spec.rows, ["prompt_id", "prompt_token_ids"]).to_pylist()
    requests = [
        Request(
            prompt_id=row["prompt_id"],
            prompt_token_ids=row["prompt_token_ids"],
            seeds=[draw_seed(spec.seed, spec.policy, row["prompt_id"], draw) for draw in range(spec.draws)],
        )
        for row in prompts
    ]
    check_context(requests, spec, context_length(name, revision))  # before anything takes a GPU
    tokenizer = load_tokenizer(name, revision)
    thoughts = spec.thoughts(tokenizer)
    budget = budget_or_default(arguments.token_budget)
    device = granted_device(arguments.gpus, arguments.threads)
    job = SamplingJob(name, revision, spec, device, arguments.gpus, arguments.threads, budget)
    engine: Engine = import_choice(spec.engine_module).start(job)
    with Progress(len(requests) * spec.draws, "responses", f"{spec.policy} answers") as progress:
        completions = engine.sample(requests, progress)
    rows = response_rows(requests, completions, tokenizer, thoughts)
    facts = {"model_revision": resolved_revision(name, revision)}
    modules = [spec.engine_module, *spec.thought_modules]
    if thoughts is None:
        RESPONSES.write(arguments.output, rows, provenance(__file__, spec, inputs, modules, **facts))
        return
    shown = thoughts.hidden(rows, {request.prompt_id: request.prompt_token_ids for request in requests})
    log_counts(arguments.output, shown.counts)
    origin = provenance(__file__, spec, inputs, modules, counts=shown.counts, **facts)
    VISIBLE_RESPONSES.write(arguments.output, shown.rows, origin)


if __name__ == "__main__":
    run(main)
