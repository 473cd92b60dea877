"""Compute the log-probabilities of a part's pairs under a reference policy."""

from functools import partial
from pathlib import Path

from command_line import add_model_flags, add_output_flag, add_policy_flag, parse_arguments, program_parser, run
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.logprobs.frozen_weights import store_frozen_matrices
from rlhf.logprobs.pairs import logprob_rows, pair_logprobs
from rlhf.logprobs.responses import checked_logprobs
from rlhf.logprobs.schema import logprob_artifact
from rlhf.logprobs.settings import LogprobSpec
from rlhf.machine.budgets import forward_budget
from rlhf.machine.device import granted_device
from rlhf.machine.memory import logprob_memory
from rlhf.machine.model_shapes import known_shape
from rlhf.machine.progress import Progress
from rlhf.models.commits import common_commits
from rlhf.models.policies import load_policy
from rlhf.models.source import model_location, resolved_revision
from rlhf.models.tokenizers import check_vocabulary, load_tokenizer
from rlhf.pairs.paired_prompts import PairedPrompts, with_starts
from rlhf.pairs.schema import PAIR_COLUMNS, pair_artifact


def main() -> None:
    parser = program_parser(__doc__, LogprobSpec)
    parser.add_argument("--pairs", type=Path, required=True, help="the pairs of a part, Parquet")
    add_policy_flag(parser)
    add_output_flag(parser, "the log-probabilities")
    add_model_flags(parser)
    arguments, spec = parse_arguments(parser, LogprobSpec)
    inputs = checked_inputs(pairs=arguments.pairs, policy=arguments.policy)
    name, revision = model_location(arguments.policy, spec.model, arguments.revisions)

    check_vocabulary(load_tokenizer(name, revision), name, revision)
    commit = resolved_revision(name, revision)
    common_commits([arguments.pairs], {"policy": commit})
    read = pair_artifact(arguments.pairs)
    artifact = logprob_artifact(read)
    table = read.read(arguments.pairs, [*PAIR_COLUMNS, *artifact.key[1:]])
    prompts = PairedPrompts(with_starts(table.select(PAIR_COLUMNS)))
    device = granted_device(arguments.gpus, arguments.threads)
    shape = known_shape(name, revision)
    memory = None if shape is None else partial(logprob_memory, shape, spec.precision)
    budget = forward_budget(arguments.token_budget, device, memory, prompts.longest, "responses.max_tokens")
    model = checked_logprobs(load_policy(name, revision, "float32", device).requires_grad_(False), spec.temperature)
    store_frozen_matrices(model.policy, spec.precision)
    unit = "pairs" if len(prompts) == len(prompts.pairs) else "prompts"
    with Progress(len(prompts), unit, "log-probabilities") as progress:
        chosen, rejected = pair_logprobs(model, prompts, spec.precision, budget, progress)
    rows = logprob_rows(prompts.pairs, chosen, rejected, table.select(artifact.key[1:]).to_pylist())
    artifact.write(arguments.output, rows, provenance(__file__, spec, inputs, model_revision=commit))


if __name__ == "__main__":
    run(main)
