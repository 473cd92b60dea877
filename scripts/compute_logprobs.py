"""Compute the log-probabilities of a part's pairs under the policy that is their reference."""

from pathlib import Path

from command_line import add_hardware_flags, add_revisions_flag, check_granted_gpus, program_parser, read_spec, run
from rlhf.device import granted_device
from rlhf.logprobs import LOGPROBS, LogprobSpec
from rlhf.model_commits import common_commits
from rlhf.models import check_vocabulary, load_policy, load_tokenizer, model_location, resolved_revision
from rlhf.pair_logprobs import logprob_rows, pair_logprobs
from rlhf.pair_table import PAIR_COLUMNS, PairTable
from rlhf.pairs import PAIRS
from rlhf.progress import Progress
from rlhf.provenance import provenance
from rlhf.sequence_logprobs import checked_logprobs


def main() -> None:
    parser = program_parser(__doc__, LogprobSpec)
    parser.add_argument("--pairs", type=Path, required=True, help="the pairs of a part, Parquet")
    parser.add_argument("--policy", type=Path, nargs="?", help="the policy's folder (default: the spec's model)")
    parser.add_argument("--output", type=Path, required=True, help="the log-probabilities, Parquet")
    parser.add_argument("--token-budget", type=int, default=16384, help="tokens in one forward pass")
    add_revisions_flag(parser)
    add_hardware_flags(parser)
    arguments = parser.parse_args()
    spec = read_spec(arguments.spec, LogprobSpec)
    check_granted_gpus(arguments)
    name, revision = model_location(arguments.policy, spec.model, arguments.revisions)

    check_vocabulary(load_tokenizer(name, revision), name, revision)
    commit = resolved_revision(name, revision)
    common_commits([arguments.pairs], {"policy": commit})
    pairs = PairTable(PAIRS.read(arguments.pairs, PAIR_COLUMNS))
    device = granted_device(arguments.gpus, arguments.threads)
    model = checked_logprobs(load_policy(name, revision, "float32", device), spec.temperature)
    with Progress(len(pairs), "pairs", "log-probabilities") as progress:
        chosen, rejected = pair_logprobs(model, pairs, spec.precision, arguments.token_budget, progress)
    rows = logprob_rows(pairs, chosen, rejected)
    inputs = {"pairs": arguments.pairs, **({"policy": arguments.policy} if arguments.policy else {})}
    LOGPROBS.write(arguments.output, rows, provenance(__file__, spec, inputs, model_revision=commit))


if __name__ == "__main__":
    run(main)
