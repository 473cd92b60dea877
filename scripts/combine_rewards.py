"""Combine the scores of several scorers into the rewards of a part: the weighted mean of standardized scores."""

import logging
from pathlib import Path

from command_line import add_output_flag, parse_arguments, program_parser, run
from rlhf.base.errors import UserError
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.base.settings import canonical_json
from rlhf.models.commits import common_commits
from rlhf.rewards.combination import Scale, combine
from rlhf.rewards.schema import REWARDS, reward_counts
from rlhf.rewards.settings import CombineSpec


def main() -> None:
    parser = program_parser(__doc__, CombineSpec)
    parser.add_argument("--responses", type=Path, required=True, help="the responses that were scored, Parquet")
    parser.add_argument(
        "--scores",
        type=Path,
        nargs="+",
        required=True,
        help="the part's scores, a file per scorer, by name",
    )
    parser.add_argument(
        "--reference-scores",
        type=Path,
        nargs="+",
        required=True,
        help="the scores for mean and deviation",
    )
    add_output_flag(parser, "the rewards")
    arguments, spec = parse_arguments(parser, CombineSpec)
    for flag in ("scores", "reference_scores"):
        if len(getattr(arguments, flag)) != len(spec.weights):
            raise UserError(f"--{flag.replace('_', '-')}: give one file for each of {', '.join(sorted(spec.weights))}")
    inputs = checked_inputs(
        responses=arguments.responses, scores=arguments.scores, reference_scores=arguments.reference_scores
    )
    weights = dict(sorted(spec.weights.items()))
    scores = dict(zip(weights, arguments.scores, strict=True))
    references = dict(zip(weights, arguments.reference_scores, strict=True))

    revisions = {}
    for name in weights:
        for commit in common_commits([scores[name], references[name]]).values():
            revisions[f"scorer {name}"] = commit
    scales = {
        name: Scale.of(REWARDS.read(path, ["prompt_id", "draw", "reward"])["reward"].to_pylist(), path)
        for name, path in references.items()
    }
    rows = combine({name: REWARDS.read(path).to_pylist() for name, path in scores.items()}, scales, weights, scores)
    counts = reward_counts(rows)
    logging.info("%s: %s; scales: %s", arguments.output, canonical_json(counts), scales)
    facts = {name: {"mean": scale.mean, "deviation": scale.deviation} for name, scale in scales.items()}
    origin = provenance(
        __file__, spec, inputs, counts=counts, objectives=list(weights), scales=facts, revisions=revisions
    )
    REWARDS.write(arguments.output, rows, origin)


if __name__ == "__main__":
    run(main)
