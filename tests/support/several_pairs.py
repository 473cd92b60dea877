"""Prompts with several pairs each, in which responses recur."""

from itertools import chain
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

from rlhf.logprobs.pairs import logprob_rows
from rlhf.logprobs.schema import logprob_artifact
from rlhf.pairs.paired_prompts import PairedPrompt, SeveralPairs
from rlhf.pairs.schema import PAIR_COLUMNS, Pair, artifact_of_pairs
from small_models import random_ids, with_reference


def several_rows(prompts: int, draws: int = 5, seed: int = 0) -> list[list[dict[str, Any]]]:
    """Rows of pairs by prompt: the best against each of the others, the lowest first; every third prompt lacks one.

    Prompts have 3 to 8 tokens and responses 2 to 12.
    """
    generator = torch.Generator().manual_seed(seed)

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    found = []
    for index in range(prompts):
        asked = random_ids(number(3, 8), generator)
        responses = [[*random_ids(number(1, 11), generator), draw] for draw in range(draws)]
        rewards = sorted((0.02 * number(0, 50) for _ in responses), reverse=True)
        best = {"chosen": responses[0], "reward": rewards[0] + 0.5}
        found.append(
            [
                {
                    "prompt_id": f"prompt-{seed}-{index}",
                    "prompt_token_ids": asked,
                    "chosen_token_ids": best["chosen"],
                    "rejected_token_ids": responses[draw],
                    "chosen_draw": 0,
                    "rejected_draw": draw,
                    "chosen_reward": best["reward"],
                    "rejected_reward": rewards[draw],
                    "chosen_win_probability": 0.8,
                    "rejected_win_probability": 0.1 * draw,
                    "chosen": "good",
                    "rejected": "bad",
                }
                for draw in range(draws - 1, index % 3 // 2, -1)
            ]
        )
    return found


def several_prompts(prompts: int, draws: int = 5, seed: int = 0) -> list[PairedPrompt]:
    """The prompts of `several_rows`."""
    rows = several_rows(prompts, draws, seed)
    return [SeveralPairs([Pair(**{name: row[name] for name in PAIR_COLUMNS}) for row in of_one]) for of_one in rows]


def referenced(policy: LlamaForCausalLM, prompts: list[PairedPrompt], temperature: float) -> list[PairedPrompt]:
    """The prompts with the log-probabilities of their pairs under `policy`."""
    return [SeveralPairs(with_reference(policy, list(prompt.pairs), temperature)) for prompt in prompts]


def write_several(
    folder: Path, name: str, rows: list[list[dict[str, Any]]], policy: LlamaForCausalLM, temperature: float
) -> tuple[Path, Path]:
    """`<name>.parquet` with at most four pairs per prompt, and `<name>-logprobs.parquet`."""
    flat = list(chain.from_iterable(rows))
    artifact = artifact_of_pairs(pooled=False, per_prompt=4)
    pairs = with_reference(policy, [Pair(**{name: row[name] for name in PAIR_COLUMNS}) for row in flat], temperature)
    logprobs = [pair.chosen_logprob for pair in pairs], [pair.rejected_logprob for pair in pairs]
    keys = [{name: row[name] for name in artifact.key} for row in flat]
    files = folder / f"{name}.parquet", folder / f"{name}-logprobs.parquet"
    artifact.write(files[0], flat, {"spec": {"per_prompt": 4}})
    made_with = {"model": None, "precision": "float32", "temperature": temperature}
    logprob_artifact(artifact).write(files[1], logprob_rows(pairs, *logprobs, keys), {"spec": made_with})
    return files
