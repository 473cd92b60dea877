"""An edit of each configuration key, and the jobs of the micro experiment that it reruns."""

from rerun_examples import OF_EXAMPLES
from rerun_imports import IMPORTS
from rerun_iterations import AFTER_THE_FIRST
from rerun_losses import LOSSES
from rerun_rows import (
    ARMO,
    BENCHMARK,
    BENCHMARK_JUDGE,
    BENCHMARKS,
    BENCHMARKS_ON,
    BUDGET,
    DRIFT,
    EVALUATION,
    JUDGEMENTS,
    LOGPROBS,
    LORA,
    PAIRS,
    PARENT,
    PROMPTS_ON,
    RECIPE,
    REPORT,
    REPORT_ALONE,
    RESPONSES,
    REWARDS,
    SAMPLED,
    SERVER,
    SIMPO,
    TASK,
    TINY_MODELS,
    TRAINED,
    TRAINING,
    WORLD,
    Row,
    each,
    of_simpo,
    one,
    same,
    within,
)
from rerun_several_pairs import SEVERAL_PAIRS
from rerun_sweeps import SWEEPS
from rerun_thoughts import THOUGHTS

TABLE = [
    Row("report", one("report.examples", 2) | one("report.judge_label", "truth"), others=REPORT_ALONE),
    Row(
        "length control, report",
        one("evaluation.difficulty_comparisons", ["models/comparisons.parquet"]),
        others=REPORT,
    ),
    Row("on: the drift of trained policies, report", one("evaluation.kl_to_base", True), DRIFT, REPORT_ALONE),
    Row("evaluations, report", each("evaluation", bootstrap_samples=200, confidence=0.9), same(EVALUATION), REPORT),
    Row(
        "judgements, evaluations, report",
        one("evaluation.judge.function", "reward_of_length:score")
        | {"evaluation.judge.url": {"evaluation.judge": SERVER}}
        | within("evaluation.judge", ARMO, kind="armo", model="models/other", max_tokens=99, precision="bfloat16"),
        same(JUDGEMENTS | EVALUATION),
        REPORT,
    ),
    Row(
        "that benchmark of all policies, report",
        {f"benchmarks.run.<name>.{key}": {"benchmarks.run": {"gsm8k": {key: value}}} for key, value in TASK.items()},
        same(BENCHMARKS),
        BENCHMARKS_ON,
    ),
    Row(
        "judged benchmarks of all policies, report",
        {
            f"benchmarks.judge.{key}": {"benchmarks": {"run": {"mt_bench": {}}, "judge": judge}}
            for key, judge in {
                "model": {"model": "models/policy"},
                "revision": {"model": "owner/judge", "revision": "main"},
                "url": BENCHMARK_JUDGE,
                "max_tokens": BENCHMARK_JUDGE,
            }.items()
        },
        same(BENCHMARKS),
        BENCHMARKS_ON,
    ),
    Row(
        "nothing",
        {
            f"benchmarks.judge.{key}": {"benchmarks.judge": BENCHMARK_JUDGE}
            for key in ("key_variable", "input_price", "output_price")
        }
        | {
            f"benchmarks.budget.{key}": {"benchmarks": {"budget": {key: value}, "judge": BENCHMARK_JUDGE}}
            for key, value in BUDGET.items()
        }
        | one("reuse", ["models"])
        | each("publish", policies=["rebel-1"], namespace="my-org", private=False)
        | {"publish.upload": {"publish": {"upload": True, "namespace": "my-org"}}},
    ),
    Row("report", one("benchmarks.published", {"paper": {"gsm8k": 79.6}})),
    *LOSSES,
    Row(
        "policies of that variant from training on, report",
        {f"variants.<name>.lora.{name}": {"variants.simpo.lora": {name: value}} for name, value in LORA.items()}
        | of_simpo(**RECIPE),
        SIMPO,
        REPORT,
    ),
    Row(
        "all trained policies from training on, report",
        each("training", **RECIPE) | within("training.lora", {}, **LORA) | one("prompts.per_iteration", 1),
        TRAINED,
        REPORT,
    ),
    Row(
        "raised: the new iterations, report",
        {
            "training.iterations": {"training.iterations": 2},
            "variants.<name>.iterations": {"variants.simpo.iterations": 2},
        },
        {"simpo-1": RESPONSES | REWARDS | frozenset({"build_pairs"}), "simpo-2": TRAINING | SAMPLED},
        REPORT,
    ),
    *AFTER_THE_FIRST,
    *SEVERAL_PAIRS,
    *OF_EXAMPLES,
    Row(
        "log-probabilities, all trained policies, report",
        one("logprobs.precision", "bfloat16"),
        {"base": LOGPROBS} | TRAINED,
        REPORT,
    ),
    Row(
        "pairs and all that follows",
        each("pairs", min_margin=1.0e-6, choose="random", per_prompt=2)
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
            "rewards.model": {"rewards.model": "models/other"},
            "rewards.max_tokens": {"rewards.max_tokens": 200},
            "rewards.precision": {"rewards.precision": "bfloat16"},
        },
        {"base": REWARDS | PAIRS | EVALUATION} | TRAINED,
        REPORT,
    ),
    Row(
        "responses and all that follows",
        each(
            "responses",
            draws=4,
            temperature=0.7,
            top_p=0.8,
            top_k=50,
            min_p=0.01,
            stop_tokens=["!"],
            max_model_len=100,
            max_tokens=20,
            precision="bfloat16",
            engine="vllm",
        )
        | one("prompts.part_size", 2),
        {"base": PARENT} | TRAINED,
        REPORT,
    ),
    Row(
        "raised: the new part, and trainings that see more data with all that follows",
        one("prompts.train", 12),
        {"base": RESPONSES | REWARDS | PAIRS} | TRAINED,
        REPORT,
    ),
    *SWEEPS,
    *THOUGHTS,
    Row("raised: the new test part, evaluations, report", one("prompts.test", 8), same(SAMPLED), REPORT),
    Row(
        "prompts and all that follows",
        one("base_model.name", "models/policy")
        | one("prompts.dataset", "models/prompts.parquet")
        | each("prompts", revision="main", split="test", subset="en", column="other", max_tokens=48, system="Be brief.")
        | each("prompts", turns="from_value", keep=["answer"], template={"enable_thinking": False})
        | {
            f"prompts.decontaminate.{name}": {"prompts.decontaminate": [{"dataset": "a/b", name: value}]}
            for name, value in BENCHMARK.items()
        },
        {"base": PARENT} | TRAINED,
        PROMPTS_ON,
    ),
    *IMPORTS,
    Row(
        "tiny reward model, rewards and all that follows",
        each("tiny.reward_model", steps=21, batch_size=16, learning_rate=2.0e-3, gate_steps=6),
        {"base": REWARDS | PAIRS | EVALUATION} | TRAINED,
        REPORT | frozenset({"train_tiny_reward_model"}),
    ),
    Row(
        "tiny policy, prompts and all that follows",
        each("tiny.mixture", steps=1, batch_size=16, learning_rate=2.0e-3, correct=0.3),
        {"base": PARENT} | TRAINED,
        PROMPTS_ON | frozenset({"train_tiny_policy"}),
    ),
    Row(
        "tiny models, prompts and all that follows",
        each("tiny.network", hidden_size=16, intermediate_size=32, layers=2, heads=4)
        | each("tiny.pretraining", steps=61, batch_size=16, learning_rate=2.0e-3),
        {"base": PARENT} | TRAINED,
        PROMPTS_ON | TINY_MODELS,
    ),
    Row(
        "tiny tokenizer and models, prompts and all that follows",
        one("tiny.vocabulary_size", 410) | one("tiny.thoughts", True),
        {"base": PARENT} | TRAINED,
        PROMPTS_ON | TINY_MODELS | frozenset({"train_tiny_tokenizer"}),
    ),
    Row(
        "tiny dataset and models, prompts and all that follows",
        one("tiny.prompts", 17),
        {"base": PARENT} | TRAINED,
        PROMPTS_ON | TINY_MODELS | frozenset({"make_tiny_prompts"}),
    ),
    Row("everything", one("seed", 2), {"base": PARENT} | TRAINED, PROMPTS_ON | WORLD),
    Row(
        "everything, in a folder of its own: the results of the old name stay",
        one("experiment", "other"),
        {"base": PARENT} | TRAINED,
        PROMPTS_ON | WORLD,
    ),
]
