"""Score the responses of a part with a reward model, function or server; `judge_responses` runs this program too."""

import logging
from pathlib import Path

from command_line import (
    add_model_flags,
    add_output_flag,
    add_prompts_flag,
    log_counts,
    parse_arguments,
    program_parser,
    run,
)
from rlhf.base.lineage import checked_inputs
from rlhf.base.provenance import provenance
from rlhf.machine.progress import Progress
from rlhf.rewards.conversations import read_conversations
from rlhf.rewards.schema import REWARDS, reward_counts
from rlhf.rewards.scorer import Conversation, ScoringJob
from rlhf.rewards.settings import ScoreSpec


def main() -> None:
    parser = program_parser(__doc__, ScoreSpec)
    add_prompts_flag(parser)
    parser.add_argument("--responses", type=Path, required=True, help="the responses of a part, Parquet")
    parser.add_argument("--reward-model", type=Path, nargs="?", help="the model's folder (default: the spec's model)")
    parser.add_argument(
        "--reference-responses", type=Path, nargs="?", help="responses of base, for scorers that compare responses"
    )
    parser.add_argument("--scorer-files", type=Path, nargs="*", help="the files that the scorer's settings name")
    parser.add_argument("--journal", type=Path, help="folder for answers of judges, so that none is paid for twice")
    add_output_flag(parser, "the rewards")
    add_model_flags(parser)
    arguments, spec = parse_arguments(parser, ScoreSpec)
    inputs = checked_inputs(
        prompts=arguments.prompts,
        responses=arguments.responses,
        reward_model=arguments.reward_model,
        reference_responses=arguments.reference_responses,
        scorer_files=arguments.scorer_files,
    )

    keys, conversations = read_conversations(arguments.prompts, spec.rows, arguments.responses)
    reference: list[Conversation] = []
    if arguments.reference_responses:
        _, reference = read_conversations(arguments.prompts, spec.rows, arguments.reference_responses)
    # The digest is taken before a function is imported, in case its file is edited while it runs.
    origin = provenance(__file__, spec, inputs, spec.scorer.modules)
    with Progress(len(conversations), "responses", "scoring") as progress:
        job = ScoringJob(
            progress=progress,
            gpus=arguments.gpus,
            threads=arguments.threads,
            token_budget=arguments.token_budget,
            folder=arguments.reward_model,
            source=spec.model,
            revisions=arguments.revisions,
            reference=reference,
            journal=arguments.journal,
        )
        scores, facts = spec.scorer.score(conversations, job)

    rows = [
        {**key, "reward": score.value, "invalid": score.invalid, "objectives": score.objectives}
        for key, score in zip(keys, scores, strict=True)
    ]
    counts = reward_counts(rows)
    counted = {**counts, **facts.get("judging", {}), **facts.get("grading", {})}
    log_counts(arguments.output, counted, logging.WARNING if counts["invalid"] else logging.INFO)
    REWARDS.write(arguments.output, rows, {**origin, "counts": counts, **facts})


if __name__ == "__main__":
    run(main)
