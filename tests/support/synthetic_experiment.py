"""A made-up experiment, written as real artifacts, for tests of the report."""

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlhf.base.names import parent, split_name
from rlhf.pairs.schema import PAIRS
from rlhf.prompts.schema import PROMPTS
from rlhf.report.material import ReportFiles
from rlhf.responses.schema import RESPONSES
from rlhf.rewards.schema import REWARDS
from rlhf.training.schema import TRAINING
from synthetic_summaries import level, write_benchmarks, write_evaluation, write_length_control

DEFAULT_POLICIES = ("base", "rebel-1", "rebel-2", "dpo-1", "simpo-1")
NASTY = "<script>alert('x')</script> & <img src=\"http://example.org/a.png\" onerror=alert(1)>"
RIGHT_TO_LEFT = "اكتب جملة قصيرة عن البحر"
PARAGRAPHS = (
    "\n\n".join(f"Paragraph {i}: " + "many words in a row " * 30 for i in range(12)) + "x" * 400 + "\x07\x1b[31m"
)
PROMPT_TEXTS = (
    NASTY,
    RIGHT_TO_LEFT,
    PARAGRAPHS,
    "What is the opposite of warm?",
    "Name three colours.",
    "$x_1$ {{ 7 * 7 }}",
)


def write_experiment(
    folder: Path,
    policies: Sequence[str] = DEFAULT_POLICIES,
    judged: bool = True,
    prompts: int = 24,
    draws: int = 3,
    benchmarks: bool = False,
) -> ReportFiles:
    """Write an experiment below `folder`, and return its files."""
    chance = random.Random(0)
    texts = [PROMPT_TEXTS[i] if i < len(PROMPT_TEXTS) else f"Prompt number {i}" for i in range(prompts)]
    ids = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]
    rows = [
        {"prompt_id": prompt_id, "prompt": text, "prompt_token_ids": [1, 2]}
        for prompt_id, text in zip(ids, texts, strict=True)
    ]
    PROMPTS.write(folder / "prompts.parquet", rows, {})
    for policy in policies:
        _write_policy(folder / policy, policy, ids, draws, judged, chance)
    trained = [policy for policy in policies if split_name(policy)[1]]
    parents = set(map(parent, trained))
    return ReportFiles(
        evaluations=[folder / policy / "evaluation.parquet" for policy in policies],
        length_control=write_length_control(folder, trained, judged),
        benchmarks=write_benchmarks(folder, policies) if benchmarks else None,
        prompts=folder / "prompts.parquet",
        responses=[folder / policy / "responses" / f"test-00{i}.parquet" for policy in policies for i in range(2)],
        rewards=[folder / policy / "rewards" / f"test-00{i}.parquet" for policy in policies for i in range(2)],
        judgements=[folder / policy / "judgements" / f"test-00{i}.parquet" for policy in policies for i in range(2)]
        if judged
        else [],
        training=[folder / policy / "training.parquet" for policy in trained],
        pairs=[folder / policy / "pairs" / "train-000.parquet" for policy in policies if policy in parents],
    )


def _write_policy(
    folder: Path, policy: str, ids: Sequence[str], draws: int, judged: bool, chance: random.Random
) -> None:
    reward, quality = level(policy)
    half = len(ids) // 2
    for part, prompt_ids in enumerate((ids[:half], ids[half:])):
        responses: list[dict[str, Any]] = []
        rewards: list[dict[str, Any]] = []
        judgements: list[dict[str, Any]] = []
        for prompt_id in prompt_ids:
            for draw in range(draws):
                tokens = chance.randint(3, 60)
                key = {"prompt_id": prompt_id, "draw": draw}
                invalid = chance.random() < 0.02
                text = f"{policy} says {NASTY}" if draw == 0 and tokens < 12 else f"{policy} answers " + "so " * tokens
                text = RIGHT_TO_LEFT if tokens % 7 == 0 else text
                responses.append(
                    {
                        **key,
                        "response": text,
                        "response_token_ids": list(range(tokens)),
                        "finish_reason": "length" if tokens > 58 else "stop",
                        "seed": 1,
                    }
                )
                score = None if invalid else chance.gauss(reward, 0.5)
                rewards.append({**key, "reward": score, "invalid": "too_long" if invalid else None, "objectives": None})
                truth = min(1.0, max(0.0, round(4 * chance.gauss(quality, 0.3)) / 4))
                judgements.append({**key, "reward": truth, "invalid": None, "objectives": None})
        origin = {"spec": {"model": {"name": f"models/{policy}", "revision": None}, "rows": [0, 1]},
                  "versions": {"numpy": "2.4.6", "torch": "2.13.0"}}  # fmt: skip
        scorer = {"spec": {"scorer": {"kind": "function", "function": "grammar:quality"}}, "versions": {}}
        RESPONSES.write(folder / "responses" / f"test-00{part}.parquet", responses, origin)
        REWARDS.write(folder / "rewards" / f"test-00{part}.parquet", rewards, {"spec": {}, "versions": {}})
        if judged:
            REWARDS.write(folder / "judgements" / f"test-00{part}.parquet", judgements, scorer)
    write_evaluation(folder, policy, judged)
    _write_pairs(folder, ids, reward, chance)
    if split_name(policy)[1]:
        _write_training(folder, policy, chance)


def _write_pairs(folder: Path, ids: Sequence[str], reward: float, chance: random.Random) -> None:
    rows = [
        {
            "prompt_id": prompt_id,
            "prompt_token_ids": [1],
            "chosen_token_ids": [2],
            "rejected_token_ids": [3],
            "chosen_draw": 0,
            "rejected_draw": 1,
            "chosen_reward": reward + abs(chance.gauss(0.4, 0.3)),
            "rejected_reward": reward,
            "chosen_win_probability": 0.75,
            "rejected_win_probability": 0.25,
            "chosen": "a",
            "rejected": "b",
        }
        for prompt_id in ids
    ]
    counts = {"prompts": len(ids) + 5, "pairs": len(ids), "dropped": {"tie": 3, "one_valid_response": 2}}
    PAIRS.write(folder / "pairs" / "train-000.parquet", rows, {"spec": {}, "versions": {}, "counts": counts})


def _write_training(folder: Path, policy: str, chance: random.Random) -> None:
    reference = not policy.startswith("simpo")
    rows = []
    learning = 0.05 + 0.02 * split_name(policy)[1]
    for step in range(61):
        validated = step % 10 == 0
        rows.append(
            {
                "step": step,
                "epoch": step / 60,
                "loss": None if step == 0 else 1.2 * 0.97**step + chance.uniform(0, 0.15),
                "validation_loss": 1.25 * 0.97**step + 0.05 if validated else None,
                "sign_agreement": 0.8 - 0.3 * (1 - learning) ** step if validated else None,
                "reward_gap": None if step == 0 else 0.4 + chance.uniform(-0.1, 0.1),
                "chosen_logratio": 0.02 * step + chance.gauss(0, 0.1) if step and reference else None,
                "rejected_logratio": -0.05 * step + chance.gauss(0, 0.1) if step and reference else None,
                "learning_rate": 1e-4,
                "grad_norm": None if step == 0 else chance.uniform(0.5, 2),
                "tokens": None if step == 0 else 1000,
            }
        )
    margin = "difference of log-ratios" if reference else "difference of mean log-probabilities"
    origin = {"spec": {"policy": policy, "loss": policy}, "versions": {}, "margin": margin}
    TRAINING.write(folder / "training.parquet", rows, origin)
