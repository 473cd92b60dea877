"""Compute the log-probabilities of a part's pairs, or of its examples, under a reference policy."""

from argparse import Namespace
from functools import partial
from pathlib import Path

from command_line import add_model_flags, add_output_flag, add_policy_flag, parse_arguments, program_parser, run
from rlhf.base.errors import UserError
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.examples.schema import EXAMPLE_COLUMNS, EXAMPLES, ExampleTable
from rlhf.logprobs.examples import example_logprob_rows
from rlhf.logprobs.frozen_weights import store_frozen_matrices
from rlhf.logprobs.groups import group_logprobs
from rlhf.logprobs.pairs import logprob_rows, pair_logprobs
from rlhf.logprobs.responses import checked_logprobs
from rlhf.logprobs.schema import EXAMPLE_LOGPROBS, logprob_artifact
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
from rlhf.pairs.schema import PAIR_COLUMNS, pair_artifact, read_pair_table


def main() -> None:
    parser = program_parser(__doc__, LogprobSpec)
    parser.add_argument("--pairs", type=Path, nargs="?", help="the pairs of a part, Parquet")
    parser.add_argument("--examples", type=Path, nargs="?", help="the examples of a part, in place of pairs")
    add_policy_flag(parser)
    add_output_flag(parser, "the log-probabilities")
    add_model_flags(parser)
    arguments, spec = parse_arguments(parser, LogprobSpec)
    of = given_rows(arguments)
    inputs = checked_inputs(pairs=arguments.pairs, examples=arguments.examples, policy=arguments.policy)
    name, revision = model_location(arguments.policy, spec.model, arguments.revisions)

    check_vocabulary(load_tokenizer(name, revision), name, revision)
    commit = resolved_revision(name, revision)
    common_commits([of], {"policy": commit})
    rows = read_rows(arguments)
    device = granted_device(arguments.gpus, arguments.threads)
    shape = known_shape(name, revision)
    memory = None if shape is None else partial(logprob_memory, shape, spec.precision)
    budget = forward_budget(arguments.token_budget, device, memory, rows.longest, "responses.max_tokens")
    model = checked_logprobs(load_policy(name, revision, "float32", device).requires_grad_(False), spec.temperature)
    store_frozen_matrices(model.policy, spec.precision)
    with Progress(len(rows), rows.unit, "log-probabilities") as progress:
        if isinstance(rows, ExampleTable):
            artifact = EXAMPLE_LOGPROBS
            groups = [example.both for example in rows]
            found = example_logprob_rows(rows, group_logprobs(model, groups, spec.precision, budget, progress))
        else:
            artifact = logprob_artifact(pair_artifact(arguments.pairs))
            values = pair_logprobs(model, rows, spec.precision, budget, progress)
            keys = read_pair_table(arguments.pairs, artifact.key).select(artifact.key[1:]).to_pylist()
            found = logprob_rows(rows.pairs, *values, keys)
    artifact.write(arguments.output, found, provenance(__file__, spec, inputs, model_revision=commit))


def given_rows(arguments: Namespace) -> Path:
    """The file of pairs or of examples; exactly one of them is given."""
    if (arguments.pairs is None) == (arguments.examples is None):
        raise UserError("give either --pairs or --examples")
    found: Path = arguments.pairs or arguments.examples
    return found


def read_rows(arguments: Namespace) -> PairedPrompts | ExampleTable:
    if arguments.examples is not None:
        return ExampleTable(EXAMPLES.read(arguments.examples, EXAMPLE_COLUMNS))
    return PairedPrompts(with_starts(read_pair_table(arguments.pairs, PAIR_COLUMNS)))


if __name__ == "__main__":
    run(main)
