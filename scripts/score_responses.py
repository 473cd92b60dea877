"""Score the responses of a part with a reward model or a function; also the program of `judge_responses`."""

import logging
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

from command_line import (
    add_model_flags,
    check_granted_gpus,
    program_parser,
    read_spec,
    run,
)
from rlhf.artifacts import ArtifactError
from rlhf.function_loading import load_function
from rlhf.function_scoring import Score, score_by_function
from rlhf.lineage import checked_inputs
from rlhf.models import check_vocabulary, load_tokenizer, model_location, resolved_revision
from rlhf.parts import Rows, read_part
from rlhf.progress import Progress
from rlhf.provenance import provenance
from rlhf.responses import RESPONSES
from rlhf.rewards import REWARDS, FunctionSettings, ScoreSpec, reward_counts, scorer_modules
from rlhf.settings import canonical_json

Conversations = list[tuple[str, str]]
"""Prompts and responses."""


def main() -> None:
    parser = program_parser(__doc__, ScoreSpec)
    parser.add_argument("--prompts", type=Path, required=True, help="prompts.parquet")
    parser.add_argument("--responses", type=Path, required=True, help="the responses of a part, Parquet")
    parser.add_argument("--reward-model", type=Path, nargs="?", help="its folder (default: the spec's model)")
    parser.add_argument("--output", type=Path, required=True, help="the rewards, Parquet")
    add_model_flags(parser)
    arguments = parser.parse_args()
    spec = read_spec(arguments.spec, ScoreSpec)
    check_granted_gpus(arguments)
    inputs = checked_inputs(
        prompts=arguments.prompts, responses=arguments.responses, reward_model=arguments.reward_model
    )

    keys, conversations = read_conversations(arguments.prompts, spec.rows, arguments.responses)
    # Before a function is imported: what runs is recorded, whatever its file becomes while it runs.
    origin = provenance(__file__, spec, inputs, scorer_modules(spec.scorer))
    with Progress(len(conversations), "responses", "scoring") as progress:
        scores, facts = compute_scores(spec, conversations, arguments, progress)

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


def compute_scores(
    spec: ScoreSpec, conversations: Conversations, arguments: Namespace, progress: Progress
) -> tuple[list[Score], dict[str, Any]]:
    """The scores in order, and facts for the provenance."""
    if isinstance(spec.scorer, FunctionSettings):
        function = load_function(spec.scorer.function)
        scores = score_by_function(function, [p for p, _ in conversations], [r for _, r in conversations])
        progress.advance(len(scores))
        return scores, {}
    from rlhf.device import granted_device  # a function does not need to wait for torch
    from rlhf.machine.budgets import forward_budget
    from rlhf.machine.memory import scoring_memory
    from rlhf.machine.model_shapes import known_shape
    from rlhf.reward_models import load_reward_model
    from rlhf.reward_scoring import score_conversations

    name, revision = model_location(arguments.reward_model, spec.model, arguments.revisions)
    device = granted_device(arguments.gpus, arguments.threads)
    tokenizer = load_tokenizer(name, revision)
    check_vocabulary(tokenizer, name, revision)
    shape = known_shape(name, revision)
    memory = None if shape is None else partial(scoring_memory, shape, spec.scorer.precision)
    budget = forward_budget(arguments.token_budget, device, memory, spec.scorer.max_tokens, "max_tokens")
    reward = load_reward_model(spec.scorer, name, revision, tokenizer, device)
    max_tokens = min(spec.scorer.max_tokens, reward.longest)
    scores = score_conversations(reward, device, tokenizer, conversations, max_tokens, budget, progress)
    return scores, {
        "objectives": list(reward.objective_names),
        "model_revision": resolved_revision(name, revision),
    }


if __name__ == "__main__":
    run(main)
