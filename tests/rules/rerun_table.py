"""What reruns after an edit of each configuration key, for the micro experiment. README shows it as a table.

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
SERVER = {"kind": "http", "url": "http://localhost:1/"}
SCORER_KEYS = ("kind", "function", "url", "token_variable", "model", "max_tokens", "precision", "revision")
ALL_POLICIES = ("base", "rebel-1", "rebel-2", "simpo-1")


@dataclass(frozen=True)
class Row:
    """Edits of keys that have the same effect: key -> the patches of a test (path -> new value)."""

    shown: str
    """What README says of it."""
    edits: dict[str, dict[str, Any]]
    policies: dict[str, Rules] = field(default_factory=dict)
    """Policy -> the rules that rerun for it."""
    others: Rules = frozenset()
    """Rules without a policy that rerun."""
    tested_apart: tuple[str, ...] = ()
    """Keys that another test edits, in an experiment that has them."""


def same(rules: Rules) -> dict[str, Rules]:
    return dict.fromkeys(ALL_POLICIES, rules)


def one(key: str, value: Any) -> dict[str, dict[str, Any]]:
    return {key: {key: value}}


ARMO_JUDGE = {"kind": "armo", "model": "{results}/world/reward_model", "precision": "float32"}
IMPORTED = {"dataset": "models/imported.jsonl"}
REPORT: Rules = frozenset({"report"})
PROMPTS_ON = frozenset({"collect_prompts"}) | REPORT

TABLE = [
    Row("nothing (`gpu`, `threads`, memory, time, token budgets)", {}),
    Row("the report", one("report.examples", 2) | one("report.judge_label", "truth"), others=REPORT),
    Row(
        "evaluations, report",
        one("evaluation.bootstrap_samples", 200) | one("evaluation.confidence", 0.9),
        same(EVALUATION),
        REPORT,
    ),
    Row(
        "judgements of the test responses, evaluations, report",
        {
            "evaluation.judge.function": {"evaluation.judge.function": "reward_of_length:score"},
            "evaluation.judge.url": {"evaluation.judge": SERVER},
            "evaluation.judge.token_variable": {"evaluation.judge": {**SERVER, "token_variable": "MINE"}},
            "evaluation.judge.kind": {"evaluation.judge": ARMO_JUDGE},
            "evaluation.judge.model": {"evaluation.judge": {**ARMO_JUDGE, "model": "models/other"}},
            "evaluation.judge.max_tokens": {"evaluation.judge": {**ARMO_JUDGE, "max_tokens": 99}},
            "evaluation.judge.precision": {"evaluation.judge": {**ARMO_JUDGE, "precision": "bfloat16"}},
        },
        same(JUDGEMENTS | EVALUATION),
        REPORT,
    ),
    Row(
        "the policies of that variant, from its training on; report",
        {
            "variants.<name>.loss.eta": {"variants.rebel.loss.eta": 11.0},
            "variants.<name>.loss.name": {"variants.rebel.loss": {"name": "dpo"}},
            "variants.<name>.loss.label_smoothing": {"variants.rebel.loss": {"name": "dpo", "label_smoothing": 0.1}},
            "variants.<name>.loss.tau": {"variants.rebel.loss": {"name": "ipo", "tau": 0.2}},
            "variants.<name>.loss.per_token": {"variants.rebel.loss": {"name": "ipo", "per_token": False}},
        },
        REBEL,
        REPORT,
    ),
    Row(
        "the policies of that variant, from its training on; report",
        {
            "variants.<name>.loss.beta": {"variants.simpo.loss.beta": 2.6},
            "variants.<name>.loss.gamma": {"variants.simpo.loss.gamma": 1.0},
            "variants.<name>.loss.weight": {"variants.simpo.loss": {"name": "orpo", "weight": 0.2}},
            "variants.<name>.batch_size": {"variants.simpo.batch_size": 1},
            "variants.<name>.learning_rate": {"variants.simpo.learning_rate": 1.0e-4},
            "variants.<name>.epochs": {"variants.simpo.epochs": 2},
            "variants.<name>.adam_beta1": {"variants.simpo.adam_beta1": 0.8},
            "variants.<name>.adam_beta2": {"variants.simpo.adam_beta2": 0.9},
            "variants.<name>.adam_epsilon": {"variants.simpo.adam_epsilon": 1.0e-6},
            "variants.<name>.weight_decay": {"variants.simpo.weight_decay": 0.1},
            "variants.<name>.warmup": {"variants.simpo.warmup": 0.2},
            "variants.<name>.max_grad_norm": {"variants.simpo.max_grad_norm": 0.5},
            "variants.<name>.pairs": {"variants.simpo.pairs": 8},
            "variants.<name>.optimizer": {"variants.simpo.optimizer": "adamw_8bit"},
            "variants.<name>.lora.rank": {"variants.simpo.lora": {"rank": 4}},
            "variants.<name>.lora.alpha": {"variants.simpo.lora": {"alpha": 32}},
            "variants.<name>.lora.targets": {"variants.simpo.lora": {"targets": ["q_proj"]}},
            "variants.<name>.validation_interval": {"variants.simpo.validation_interval": 1},
        },
        SIMPO,
        REPORT,
    ),
    Row(
        "all trained policies, from their training on; report",
        one("training.batch_size", 1)
        | one("training.learning_rate", 1.0e-4)
        | one("training.epochs", 2)
        | one("training.adam_beta1", 0.8)
        | one("training.adam_beta2", 0.9)
        | one("training.adam_epsilon", 1.0e-6)
        | one("training.weight_decay", 0.1)
        | one("training.warmup", 0.2)
        | one("training.max_grad_norm", 0.5)
        | one("training.pairs", 8)
        | one("training.optimizer", "adamw_8bit")
        | {"training.lora.rank": {"training.lora": {"rank": 4}}}
        | {"training.lora.alpha": {"training.lora": {"alpha": 32}}}
        | {"training.lora.targets": {"training.lora": {"targets": ["q_proj"]}}}
        | one("training.validation_interval", 1)
        | one("prompts.per_iteration", 1),
        TRAINED,
        REPORT,
    ),
    Row(
        "raised: what the new iterations need; report",
        {
            "training.iterations": {"training.iterations": 2},
            "variants.<name>.iterations": {"variants.simpo.iterations": 2},
        },
        {"simpo-1": RESPONSES | REWARDS | frozenset({"build_pairs"}), "simpo-2": TRAINING | SAMPLED},
        REPORT,
    ),
    Row(
        "log-probabilities, all trained policies, report",
        one("logprobs.precision", "bfloat16"),
        {"base": LOGPROBS} | TRAINED,
        REPORT,
    ),
    Row(
        "pairs and all that follows",
        one("pairs.min_margin", 1.0e-6)
        | one("pairs.choose", "random")
        | {"pairs.target_margin": {"pairs": {"choose": "margin", "target_margin": 0.1}}},
        {"base": PAIRS} | TRAINED,
        REPORT,
    ),
    Row(
        "rewards and all that follows",
        {
            "rewards.kind": {"rewards": {"kind": "function", "function": "rlhf.tiny.language.grammar:true_quality"}},
            "rewards.function": {"rewards": {"kind": "function", "function": "reward_of_length:score"}},
            "rewards.url": {"rewards": SERVER},
            "rewards.token_variable": {"rewards": {**SERVER, "token_variable": "MINE"}},
            "rewards.model": {"rewards.model": "models/other"},
            "rewards.max_tokens": {"rewards.max_tokens": 200},
            "rewards.precision": {"rewards.precision": "bfloat16"},
        },
        {"base": REWARDS | PAIRS | EVALUATION} | TRAINED,
        REPORT,
    ),
    Row(
        "combined rewards and all that follows; before them that scorer's own scores, unless only its weight changed",
        {},
        tested_apart=tuple(
            f"rewards.scorers.<name>.{key}" for key in ("weight", *(f"scorer.{key}" for key in SCORER_KEYS))
        ),
    ),
    Row(
        "responses and all that follows",
        one("responses.draws", 4)
        | one("responses.temperature", 0.7)
        | one("responses.top_p", 0.8)
        | one("responses.top_k", 50)
        | one("responses.min_p", 0.01)
        | one("responses.stop_tokens", ["!"])
        | one("responses.max_model_len", 100)
        | one("responses.max_tokens", 20)
        | one("responses.precision", "bfloat16")
        | one("responses.engine", "vllm")
        | one("prompts.part_size", 2),
        {"base": PARENT} | TRAINED,
        REPORT,
    ),
    Row(
        "grown: the new part; the trainings that now see more data, and all that follows",
        one("prompts.train", 12),
        {"base": RESPONSES | REWARDS | PAIRS} | TRAINED,
        REPORT,
    ),
    Row("grown: the new test part, evaluations, report", one("prompts.test", 8), same(SAMPLED), REPORT),
    Row(
        "prompts and all that follows",
        {
            "base_model.name": {"base_model.name": "models/policy"},
            "prompts.dataset": {"prompts.dataset": "models/prompts.parquet"},
        }
        | one("prompts.revision", "main")
        | one("prompts.split", "test")
        | one("prompts.subset", "en")
        | one("prompts.column", "other")
        | one("prompts.system", "Be brief.")
        | one("prompts.max_tokens", 48),
        {"base": PARENT} | TRAINED,
        PROMPTS_ON,
    ),
    Row(
        "the train responses of base and all that follows",
        {
            "responses.imported.dataset": {"responses.imported": IMPORTED},
            "responses.imported.column": {"responses.imported": {**IMPORTED, "column": "text"}},
            "responses.imported.subset": {"responses.imported": {**IMPORTED, "subset": "en"}},
            "responses.imported.split": {"responses.imported": {**IMPORTED, "split": "test"}},
        },
        {"base": frozenset({"import_responses"}) | REWARDS | PAIRS} | TRAINED,
        REPORT,
    ),
    Row(
        "the train rewards of base and all that follows",
        {"responses.imported.rewards": {"responses.imported": {**IMPORTED, "rewards": True}}},
        {"base": frozenset({"import_responses", "import_rewards"}) | PAIRS} | TRAINED,
        REPORT,
    ),
    Row(
        "the tiny reward model, rewards and all that follows",
        one("tiny.reward_model.steps", 21)
        | one("tiny.reward_model.batch_size", 16)
        | one("tiny.reward_model.learning_rate", 2.0e-3)
        | one("tiny.reward_model.gate_steps", 6),
        {"base": REWARDS | PAIRS | EVALUATION} | TRAINED,
        REPORT | frozenset({"train_tiny_reward_model"}),
    ),
    Row(
        "the tiny policy, prompts and all that follows",
        one("tiny.mixture.steps", 1)
        | one("tiny.mixture.batch_size", 16)
        | one("tiny.mixture.learning_rate", 2.0e-3)
        | one("tiny.mixture.correct", 0.3),
        {"base": PARENT} | TRAINED,
        PROMPTS_ON | frozenset({"train_tiny_policy"}),
    ),
    Row(
        "the tiny models, prompts and all that follows",
        one("tiny.network.hidden_size", 16)
        | one("tiny.network.intermediate_size", 32)
        | one("tiny.network.layers", 2)
        | one("tiny.network.heads", 4)
        | one("tiny.pretraining.steps", 61)
        | one("tiny.pretraining.batch_size", 16)
        | one("tiny.pretraining.learning_rate", 2.0e-3),
        {"base": PARENT} | TRAINED,
        PROMPTS_ON | TINY_MODELS,
    ),
    Row(
        "the tiny tokenizer and models, prompts and all that follows",
        one("tiny.vocabulary_size", 410),
        {"base": PARENT} | TRAINED,
        PROMPTS_ON | TINY_MODELS | frozenset({"train_tiny_tokenizer"}),
    ),
    Row(
        "the tiny dataset and models, prompts and all that follows",
        one("tiny.prompts", 17),
        {"base": PARENT} | TRAINED,
        PROMPTS_ON | TINY_MODELS | frozenset({"make_tiny_prompts"}),
    ),
    Row(
        "everything (another experiment is another folder: the first one's results stay)",
        one("seed", 2) | one("experiment", "other"),
        {"base": PARENT} | TRAINED,
        PROMPTS_ON | TINY_MODELS | frozenset({"make_tiny_prompts", "train_tiny_tokenizer"}),
    ),
]


def rerun_table_markdown() -> str:
    """The table as README shows it."""
    rows: dict[str, list[str]] = {}
    for row in TABLE:
        rows.setdefault(row.shown, []).extend(f"`{key}`" for key in (*row.edits, *row.tested_apart))
    lines = ["| edit of | reruns |", "| --- | --- |"]
    for shown, keys in rows.items():
        lines.append(f"| {', '.join(keys) or '`hardware.*`'} | {shown} |")
    return "\n".join(lines)
