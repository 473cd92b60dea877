"""What rows of the rerun table are made of.

The micro experiment has the policies base, rebel-1, rebel-2 (two iterations) and simpo-1 (a loss without a reference).
"""

from dataclasses import dataclass, field
from typing import Any

Rules = frozenset[str]

RESPONSES: Rules = frozenset({"generate_responses"})
REWARDS: Rules = frozenset({"score_responses"})
JUDGEMENTS: Rules = frozenset({"judge_responses"})
PAIRS: Rules = frozenset({"build_pairs", "compute_logprobs"})
LOGPROBS: Rules = frozenset({"compute_logprobs"})
TRAINING: Rules = frozenset({"train_policy"})
EVALUATION: Rules = frozenset({"evaluate_policy"})
SAMPLED = RESPONSES | REWARDS | JUDGEMENTS | EVALUATION
PARENT = SAMPLED | PAIRS
TINY_MODELS: Rules = frozenset({"pretrain_tiny_policy", "train_tiny_policy", "train_tiny_reward_model"})
REBEL = {"rebel-1": TRAINING | PARENT, "rebel-2": TRAINING | SAMPLED}
SIMPO = {"simpo-1": TRAINING | SAMPLED}
TRAINED = REBEL | SIMPO
DRIFT = {policy: frozenset({"measure_drift"}) for policy in ("rebel-1", "rebel-2", "simpo-1")}
SERVER = {"kind": "http", "url": "http://localhost:1/"}
ALL_POLICIES = ("base", "rebel-1", "rebel-2", "simpo-1")


@dataclass(frozen=True)
class Row:
    """Edits of keys that have the same effect: key -> the patches of a test (path -> new value)."""

    words: str
    """What `config/README.md` says of it."""
    edits: dict[str, dict[str, Any]]
    policies: dict[str, Rules] = field(default_factory=dict)
    """Policy -> the rules that rerun for it."""
    others: Rules = frozenset()
    """Rules without a policy that rerun."""


def same(rules: Rules) -> dict[str, Rules]:
    return dict.fromkeys(ALL_POLICIES, rules)


def one(key: str, value: Any) -> dict[str, dict[str, Any]]:
    return {key: {key: value}}


def each(section: str, **values: Any) -> dict[str, dict[str, Any]]:
    """Keys of a section, each edited alone."""
    return {f"{section}.{name}": {f"{section}.{name}": value} for name, value in values.items()}


def within(section: str, others: dict[str, Any], **values: Any) -> dict[str, dict[str, Any]]:
    """Keys of a section that micro lacks, each edited alone beside the `others` that it needs."""
    return {f"{section}.{name}": {section: {**others, name: value}} for name, value in values.items()}


def of_simpo(**values: Any) -> dict[str, dict[str, Any]]:
    """Keys of a variant, each edited alone in simpo."""
    return {f"variants.<name>.{name}": {f"variants.simpo.{name}": value} for name, value in values.items()}


RECIPE = {
    "batch_size": 1,
    "learning_rate": 1.0e-4,
    "epochs": 2,
    "adam_beta1": 0.8,
    "adam_beta2": 0.9,
    "adam_epsilon": 1.0e-6,
    "weight_decay": 0.1,
    "warmup": 0.2,
    "max_grad_norm": 0.5,
    "pairs": 8,
    "optimizer": "adamw_8bit",
    "validation_interval": 1,
}
"""Other values of the keys that `training` and each variant have."""
LORA = {"rank": 4, "alpha": 32, "targets": ["q_proj"]}
ARMO = {"kind": "armo", "model": "{results}/world/reward_model", "precision": "float32"}
IMPORTED = {"dataset": "models/imported.jsonl"}
BENCHMARK = {"dataset": "a/c", "file": "a.json", "revision": "main", "subset": "en", "split": "test", "column": "turns"}
BENCHMARK |= {"name": "mine", "ngram": 8, "similarity": 0.5}
REPORT_ALONE: Rules = frozenset({"report"})
REPORT = REPORT_ALONE | frozenset({"length_control"})
"""What gathers from all policies."""
BENCHMARKS: Rules = frozenset({"run_benchmark"})
BENCHMARKS_ON = REPORT_ALONE | frozenset({"summarize_benchmarks"})
TASK = {
    "data": "models",
    "revision": "main",
    "subsets": ["main"],
    "few_shot": 0,
    "limit": 3,
    "max_tokens": 9,
    "temperature": 1.0,
}
BENCHMARK_JUDGE = {"model": "j", "url": "http://localhost:1/v1", "key_variable": "KEY", "max_tokens": 9}
BENCHMARK_JUDGE |= {"input_price": 1.0, "output_price": 2.0}
BUDGET = {"requests": 1, "tokens": 2, "money": 3.0}
WORLD = TINY_MODELS | frozenset({"make_tiny_prompts", "train_tiny_tokenizer"})
PROMPTS_ON = frozenset({"collect_prompts"}) | REPORT
