"""Rewards of several draws per prompt with a model like ArmoRM: packs with shared prompts, against single rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from cases import JUDGE, LLAMA3_8B_8_LAYERS, SMALL_JUDGE
from chats import conversations as chats
from chats import turns
from record import Row, judged
from rlhf.machine.progress import Progress
from rlhf.rewards.models.armo import ArmoRewardModel
from rlhf.rewards.models.armo_scorer import ArmoScorer
from rlhf.rewards.models.packed_scoring import score_conversations
from rlhf.tokens.chat import encode_messages
from rlhf.training.compute_rate import peak_rate
from scoring import LONGEST, made_texts, one_by_one, random_reward_model
from small_tokenizers import small_tokenizer
from tasks import Exam, Task
from timing import matrix_rate, median_seconds

FULL = {**JUDGE, **LLAMA3_8B_8_LAYERS, "draws": 5, "prompt_tokens": 512, "response_tokens": 100, "budget": 32_768}
SMALL = {**JUDGE, **SMALL_JUDGE, "draws": 5, "prompt_tokens": 60, "response_tokens": 12, "budget": 512}
EXACT = 1e-3
"""Difference of float32 scores relative to their spread."""
TIMES_FASTER = 4.0


def tasks(exam: Exam) -> list[Task]:
    options = SMALL if exam.small else FULL
    exact = {**options, "precision": "float32", "prompts": min(4, options["prompts"])}
    return [
        Task("rewards, float32", 20, lambda: agreement(exact, exam.device)),
        Task("rewards, bfloat16", 40, lambda: speed({**options, "precision": "bfloat16"}, exam.device)),
    ]


class Scoring:
    """A random reward model and conversations, scored both ways."""

    def __init__(self, options: dict[str, Any], device: torch.device) -> None:
        self.device, self.budget = device, options["budget"]
        self.tokenizer = small_tokenizer()
        self.conversations = made_texts(options, self.tokenizer)
        self.model: ArmoRewardModel = random_reward_model(options, device)

    def packed(self) -> list[float]:
        with Progress(len(self.conversations), "responses", "scoring") as progress:
            scores = score_conversations(
                ArmoScorer(self.model, self.tokenizer),
                self.device,
                self.tokenizer,
                chats(self.conversations),
                LONGEST,
                self.budget,
                progress,
            )
        self.computed = progress.tokens
        return [score.value for score in scores if score.value is not None]

    def alone(self) -> list[float]:
        return one_by_one(self.model, self.tokenizer, self.conversations, self.device)


def agreement(options: dict[str, Any], device: torch.device) -> Iterator[Row]:
    """Both ways in float32 give the same scores."""
    scoring = Scoring(options, device)
    expected = torch.tensor(scoring.alone())  # before the model reads packs
    found = torch.tensor(scoring.packed())
    difference = float((found - expected).abs().max() / expected.std())
    yield judged(
        f"rewards, {options['layers']} layers, float32, packed against one row at a time",
        f"differ by {difference:.1e} of their spread",
        f"≤ {EXACT:.0e}",
        passed=difference <= EXACT,
        difference=difference,
        scores=len(found),
    )


def speed(options: dict[str, Any], device: torch.device) -> Iterator[Row]:
    """Seconds from the texts to the scores."""
    scoring = Scoring(options, device)
    alone = median_seconds(scoring.alone, device, rounds=1)
    packed = median_seconds(scoring.packed, device)
    conversations = scoring.conversations
    asked = sum(len(encode_messages(scoring.tokenizer, turns(conversation))) for conversation in conversations)
    weights = sum(parameter.numel() for parameter in scoring.model.model.layers.parameters())
    peak = peak_rate(device)
    share = 2 * weights * scoring.computed / packed / (peak or matrix_rate(device))
    ratio = alone / packed
    yield judged(
        f"rewards, {options['layers']} layers, {options['precision']}, {options['draws']} draws to a prompt",
        f"{ratio:.1f} times as fast as one row at a time: {len(conversations) / packed:.3g} responses/s, "
        f"{asked / packed:,.0f} tokens/s, {share:.0%} of {'the data sheet' if peak else 'a large product'}",
        f"≥ {TIMES_FASTER:.0f} times",
        passed=ratio >= TIMES_FASTER if device.type == "cuda" else None,
        seconds=packed,
        one_by_one_seconds=alone,
        responses=len(conversations),
        tokens=asked,
        computed_tokens=scoring.computed,
        share=share,
    )
