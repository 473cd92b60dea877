"""Sample the responses of a policy to a part of the prompts."""

from pathlib import Path

from command_line import add_model_flags, check_granted_gpus, program_parser, read_spec, run
from rlhf.device import granted_device
from rlhf.engines import Engine, Request, check_context
from rlhf.hardware import BudgetChoice
from rlhf.lineage import checked_inputs
from rlhf.machine.budgets import DEFAULT_BUDGET
from rlhf.models import context_length, load_tokenizer, model_location, resolved_revision
from rlhf.parts import read_part
from rlhf.progress import Progress
from rlhf.provenance import provenance
from rlhf.responses import RESPONSES, GenerateSpec, draw_seed, response_rows


def main() -> None:
    parser = program_parser(__doc__, GenerateSpec)
    parser.add_argument("--prompts", type=Path, required=True, help="prompts.parquet")
    parser.add_argument("--policy", type=Path, nargs="?", help="the policy's folder (default: the spec's model)")
    parser.add_argument("--output", type=Path, required=True, help="the responses, Parquet")
    add_model_flags(parser)
    arguments = parser.parse_args()
    spec = read_spec(arguments.spec, GenerateSpec)
    check_granted_gpus(arguments)
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
    engine = start_engine(spec, name, revision, arguments.gpus, arguments.threads, arguments.token_budget)
    with Progress(len(requests) * spec.draws, "responses", f"{spec.policy} answers") as progress:
        completions = engine.sample(requests, progress)
    rows = response_rows(requests, completions, load_tokenizer(name, revision))
    RESPONSES.write(
        arguments.output, rows, provenance(__file__, spec, inputs, model_revision=resolved_revision(name, revision))
    )


def start_engine(
    spec: GenerateSpec, name: str, revision: str | None, gpus: int, threads: int, token_budget: BudgetChoice
) -> Engine:
    """The engine that the spec names, with the model loaded."""
    device = granted_device(gpus, threads)
    if spec.engine == "vllm":
        from rlhf.engine_vllm import VllmEngine

        return VllmEngine(name, revision, spec, gpus, threads)
    from rlhf.engine_transformers import TransformersEngine

    return TransformersEngine(name, revision, spec, device, DEFAULT_BUDGET if token_budget == "auto" else token_budget)


if __name__ == "__main__":
    run(main)
