"""Score the responses of a part with a reward model or a function; also the program of `judge_responses`."""

import logging
from pathlib import Path
from typing import Any

from command_line import add_model_flags, parse_arguments, program_parser, run
from rlhf.base.artifacts import ArtifactError
from rlhf.base.lineage import checked_inputs
from rlhf.base.names import Rows
from rlhf.base.provenance import provenance
from rlhf.base.settings import canonical_json
from rlhf.machine.progress import Progress
from rlhf.prompts.schema import read_part
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.schema import REWARDS, reward_counts
from rlhf.rewards.scorer import ScoringJob
from rlhf.rewards.settings import ScoreSpec


def main() -> None:
    parser = program_parser(__doc__, ScoreSpec)
    parser.add_argument("--prompts", type=Path, required=True, help="prompts.parquet")
    parser.add_argument("--responses", type=Path, required=True, help="the responses of a part, Parquet")
    parser.add_argument("--reward-model", type=Path, nargs="?", help="its folder (default: the spec's model)")
    parser.add_argument("--output", type=Path, required=True, help="the rewards, Parquet")
    add_model_flags(parser)
    arguments, spec = parse_arguments(parser, ScoreSpec)
    inputs = checked_inputs(
        prompts=arguments.prompts, responses=arguments.responses, reward_model=arguments.reward_model
    )

    keys, conversations = read_conversations(arguments.prompts, spec.rows, arguments.responses)
    # Before a function is imported: what runs is recorded, whatever its file becomes while it runs.
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
        )
        scores, facts = spec.scorer.scores(conversations, job)

    rows = [
        {**key, "reward": score.reward, "invalid": score.invalid, "objectives": score.objectives}
        for key, score in zip(keys, scores, strict=True)
    ]
    counts = reward_counts(rows)
    logging.log(
        logging.WARNING if counts["invalid"] else logging.INFO, "%s: %s", arguments.output, canonical_json(counts)
    )
    REWARDS.write(arguments.output, rows, {**origin, "counts": counts, **facts})


def read_conversations(
    prompts: Path, rows: Rows, responses: Path
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """`prompt_id` and `draw` of each response of a part, and its prompt and itself as texts.

    Raises:
        ArtifactError: a response is to none of the part's prompts.
    """
    part = read_part(prompts, rows, ["prompt_id", "prompt"])
    texts = dict(zip(part["prompt_id"].to_pylist(), part["prompt"].to_pylist(), strict=True))
    table = RESPONSES.read(responses, ["prompt_id", "draw", "response"])
    keys = table.select(["prompt_id", "draw"]).to_pylist()
    for row, key in enumerate(keys):
        if key["prompt_id"] not in texts:
            raise ArtifactError(f"{responses}: row {row}: prompt {key['prompt_id']} is not of this part")
    return keys, [
        (texts[key["prompt_id"]], text) for key, text in zip(keys, table["response"].to_pylist(), strict=True)
    ]


if __name__ == "__main__":
    run(main)
