"""Wrong configurations, as a new user may write them: each is stopped by a sentence with key, value and what may be.

What the plan looks at before any job is looked at here in process; tests/rules/test_wrong_input.py has a few through
`snakemake -n`.
"""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from planning.input_checks import check_functions, check_sources
from planning.memory_check import check_memory
from planning.model_checks import check_models
from rlhf.config import load_experiment
from rlhf.errors import UserError

CONFIG = Path(__file__).resolve().parents[2] / "config"
CONFIGS = {path.stem: yaml.safe_load(path.read_text()) for path in CONFIG.glob("*.yaml")}
LONG = "x" * 300
HUGE = 10**30
INFINITE, NAN = float("inf"), float("nan")
Case = tuple[dict[str, Any], list[str]]
"""What is changed of config/micro.yaml, and what is said: the key, what it is, what it may be."""


def scorer(**settings: Any) -> dict[str, Any]:
    return {"rewards": settings}


def two_scorers(**first: Any) -> dict[str, Any]:
    return scorer(kind="combined", scorers={"a": first, "b": {"scorer": {"kind": "armo"}}})


def function(name: object) -> dict[str, Any]:
    return scorer(kind="function", function=name)


def loss(**settings: Any) -> dict[str, Any]:
    return {"variants.rebel.loss": settings}


def imported(**settings: Any) -> dict[str, Any]:
    return {"responses.imported": settings}


LOSSES = "'rebel', 'dpo', 'ipo', 'simpo', 'hinge', 'sppo', 'apo_zero', 'orpo'"
SCORERS = "'armo', 'sequence_classification', 'function'"
MICRO: list[Case] = [
    # names of the experiment and its policies
    ({"experiment": ...}, ["experiment: this key is missing", "folder under `results/`"]),
    ({"experiment": ""}, ["experiment: ", "''", "pattern"]),
    ({"experiment": "a/b"}, ["experiment: ", "'a/b'", "Letters, digits"]),
    ({"experiment": "../up"}, ["experiment: ", "'../up'", "Letters, digits"]),
    ({"experiment": ".hidden"}, ["experiment: ", "'.hidden'", "pattern"]),
    ({"experiment": "my run"}, ["experiment: ", "'my run'", "pattern"]),
    ({"experiment": "größe"}, ["experiment: ", "'größe'", "pattern"]),
    ({"experiment": 7}, ["experiment: must be text", "7"]),
    ({"experiment": LONG}, ["experiment: ", "at most 100 characters", "xxx..."]),
    ({"variants": {LONG: {"loss": {"name": "dpo"}}}}, ["variants.xxx", "this name", "at most 60 characters"]),
    ({"variants": {"DPO": {"loss": {"name": "dpo"}}}}, ["variants.DPO: this name", "pattern ^[a-z][a-z0-9_]*$"]),
    ({"variants": {"my-dpo": {"loss": {"name": "dpo"}}}}, ["variants.my-dpo: this name", "pattern"]),
    ({"variants": {1: {"loss": {"name": "dpo"}}}}, ["variants.1: this name must be text"]),
    ({"variants": {"base": {"loss": {"name": "dpo"}}}}, ["variants.base", "rename"]),
    ({"variants": {}}, ["variants: needs at least 1", "{}"]),
    ({"variants": ["rebel"]}, ["variants: must be a section", "['rebel']", "loss"]),
    ({"variants": None}, ["variants: must be a section", "None"]),
    # keys
    ({"trainig": {}}, ["trainig: there is no such key", "`training`", "Allowed here: base_model"]),
    ({"training.lr": 1.0e-5}, ["training.lr: there is no such key", "learning_rate"]),
    ({"training.loss": {"name": "dpo"}}, ["training.loss: there is no such key", "Allowed here: adam_beta1"]),
    ({"responses.top-p": 0.9}, ["responses.top-p: there is no such key", "`top_p`"]),
    ({"hardware.train": {}}, ["hardware.train: there is no such key", "train_policy"]),
    ({"hardware.train_policy.gpus": 8}, ["hardware.train_policy.gpus: there is no such key", "`gpu`"]),
    ({"tiny.network.width": 8}, ["tiny.network.width: there is no such key", "hidden_size"]),
    ({"base_model.path": "x"}, ["base_model.path: there is no such key", "Allowed here: name, revision"]),
    # sections of another kind
    ({"prompts": ...}, ["prompts: this key is missing"]),
    ({"prompts": None}, ["prompts: must be a section", "None", "dataset"]),
    ({"prompts": "data.jsonl"}, ["prompts: must be a section", "'data.jsonl'", "dataset"]),
    ({"responses": []}, ["responses: must be a section", "[]", "draws"]),
    ({"training": 3}, ["training: must be a section", "3", "epochs"]),
    ({"base_model": "meta/llama"}, ["base_model: must be a section", "'meta/llama'", "name, revision"]),
    ({"hardware.train_policy": 8}, ["hardware.train_policy: must be a section", "8", "strategy"]),
    ({"variants.rebel": None}, ["variants.rebel: must be a section", "None", "loss"]),
    ({"tiny": True}, ["tiny: must be a section", "True", "network"]),
    ({"training.lora": True}, ["training.lora: must be a section", "True", "rank"]),
    # types
    ({"seed": "1"}, ["seed: must be a whole number", "'1'"]),
    ({"seed": 1.5}, ["seed: must be a whole number", "1.5"]),
    ({"seed": True}, ["seed: must be a whole number", "True"]),
    ({"seed": None}, ["seed: must be a whole number", "None"]),
    ({"training.learning_rate": "1e-5"}, ["training.learning_rate: ", "'1e-5'", "1.0e-6"]),
    ({"training.learning_rate": "fast"}, ["training.learning_rate: must be a number", "'fast'"]),
    ({"responses.draws": "five"}, ["responses.draws: must be a whole number", "'five'"]),
    ({"responses.stop_tokens": "</s>"}, ["responses.stop_tokens: must be a list", "'</s>'"]),
    ({"responses.stop_tokens": [5]}, ["responses.stop_tokens.0: must be text", "5"]),
    ({"prompts.column": None}, ["prompts.column: must be text", "None"]),
    ({"prompts.column": ""}, ["prompts.column: ", "''", "at least 1 character"]),
    ({"training.lora": {"targets": "q_proj"}}, ["training.lora.targets: must be 'all-linear' or must be a list"]),
    ({"training.lora": {"targets": []}}, ["training.lora.targets: ", "at least 1", "[]"]),
    ({"variants.rebel.loss.eta": [1]}, ["variants.rebel.loss.eta: must be a number", "[1]"]),
    # choices
    ({"environments": "docker"}, ["environments: ", "'docker'", "'conda' or 'embedded'"]),
    (
        {"responses.engine": "VLLM"},
        ["responses.engine: ", "'VLLM'", "'vllm' or 'transformers'", "Did you mean 'vllm'?"],
    ),
    ({"responses.precision": "bf16"}, ["responses.precision: ", "'bf16'", "Did you mean 'bfloat16'?"]),
    ({"logprobs.precision": "float16"}, ["logprobs.precision: ", "'float16'", "'float32' or 'bfloat16'"]),
    ({"pairs.choose": "best"}, ["pairs.choose: ", "'best'", "'best_worst'", "highest and the lowest"]),
    ({"training.optimizer": "sgd"}, ["training.optimizer: ", "'sgd'", "'adamw' or 'adamw_8bit'"]),
    ({"hardware.train_policy.strategy": "zero2"}, ["hardware.train_policy.strategy: ", "'zero2'", "'zero3'"]),
    ({"hardware.train_policy.tracker": "mlflow"}, ["hardware.train_policy.tracker: ", "'mlflow'", "'wandb'"]),
    ({"hardware.train_policy.activations": False}, ["hardware.train_policy.activations: ", "False", "'recompute'"]),
    ({"prompts.per_iteration": "some"}, ["prompts.per_iteration: must be 'all' or", "whole number", "'some'"]),
    ({"hardware.score_responses.token_budget": "max"}, ["hardware.score_responses.token_budget: must be 'auto' or"]),
    (loss(), ["variants.rebel.loss.name: this key is missing", LOSSES]),
    (loss(beta=0.1), ["variants.rebel.loss.name: this key is missing", LOSSES]),
    (loss(name="reble"), ["variants.rebel.loss.name: there is no 'reble'", "Did you mean 'rebel'?", LOSSES]),
    (loss(name="ppo"), ["variants.rebel.loss.name: there is no 'ppo'", LOSSES]),
    (loss(name="rebel", beta=1.0), ["variants.rebel.loss.beta: there is no such key", "Allowed here: eta, name"]),
    (
        {"variants.rebel.loss": "rebel"},
        ["variants.rebel.loss: must be a section", "'rebel'", f"`name` is one of {LOSSES}"],
    ),
    ({"variants.rebel.loss": ...}, ["variants.rebel.loss: this key is missing"]),
    (scorer(), ["rewards.kind: this key is missing", SCORERS, "'combined'"]),
    (scorer(model="a/b"), ["rewards.kind: this key is missing", SCORERS]),
    (scorer(kind="arma"), ["rewards.kind: there is no 'arma'", "Did you mean 'armo'?", SCORERS]),
    ({"rewards": "armo"}, ["rewards: must be a section", "'armo'", f"`kind` is one of {SCORERS}"]),
    (scorer(kind="sequence_classification"), ["rewards.model: this key is missing", "Hub name"]),
    (scorer(kind="armo", modle="x"), ["rewards.modle: there is no such key", "`model`"]),
    (scorer(kind="combined"), ["rewards.scorers: this key is missing"]),
    (scorer(kind="combined", scorers={}), ["rewards.scorers: needs at least 2", "{}"]),
    (two_scorers(weight=0, scorer={"kind": "armo"}), ["rewards.scorers.a.weight: ", "1e-06", "0"]),
    (two_scorers(scorer={"kind": "armoo"}), ["rewards.scorers.a.scorer.kind: there is no 'armoo'", SCORERS]),
    (two_scorers(scorer={"kind": "armo", "max": 1}), ["rewards.scorers.a.scorer.max: there is no such key"]),
    ({"evaluation.judge": {}}, ["evaluation.judge.kind: this key is missing", SCORERS]),
    ({"evaluation.judge": {"kind": "combined"}}, ["evaluation.judge.kind: there is no 'combined'", SCORERS]),
    # numbers out of bounds, infinite and absurd ones
    ({"seed": -1}, ["seed: ", "-1", "greater than or equal to 0"]),
    ({"seed": 2**63}, ["seed: ", "less than 9223372036854775808"]),
    ({"responses.temperature": 0.0}, ["responses.temperature: ", "0.0", "equal to 0.01", "no pair"]),
    ({"responses.temperature": 1.0e-320}, ["responses.temperature: ", "1e-320", "equal to 0.01"]),
    ({"responses.temperature": 1.0e10}, ["responses.temperature: ", "10000000000.0", "equal to 100"]),
    ({"responses.temperature": INFINITE}, ["responses.temperature: must be a finite number", "inf"]),
    ({"responses.top_p": 90}, ["responses.top_p: ", "90", "equal to 1"]),
    ({"responses.top_p": 1.0e-300}, ["responses.top_p: ", "1e-300", "equal to 0.01"]),
    ({"responses.top_k": 0}, ["responses.top_k: ", "0", "equal to 1"]),
    ({"responses.min_p": 1.0}, ["responses.min_p: ", "1.0", "less than 1"]),
    ({"responses.draws": 1}, ["responses.draws: ", "1", "equal to 2", "a pair is made of two"]),
    ({"responses.draws": HUGE}, ["responses.draws: ", "equal to 10000"]),
    ({"responses.max_tokens": 0}, ["responses.max_tokens: ", "0", "equal to 1"]),
    ({"responses.max_tokens": 1}, ["responses.max_tokens: it is 1", "end-of-turn token", "2 and more"]),
    ({"responses.max_tokens": HUGE}, ["responses.max_tokens: ", "equal to 10000000"]),
    ({"responses.max_model_len": 80}, ["responses.max_model_len: it is 80", "prompts.max_tokens (64)", "88", "null"]),
    ({"prompts.max_tokens": HUGE}, ["prompts.max_tokens: ", "equal to 10000000"]),
    ({"prompts.train": 0}, ["prompts.train: ", "0", "equal to 1"]),
    ({"prompts.test": -5}, ["prompts.test: ", "-5", "equal to 1"]),
    ({"prompts.train": 10**9, "prompts.dataset": "a/b"}, ["prompts.part_size: it is 4", "250,000,001 parts", "10,000"]),
    ({"prompts.train": HUGE}, ["prompts.train: ", "equal to 1000000000"]),
    ({"prompts.train": 14}, ["prompts.train", "(14)", "18 prompts", "tiny.prompts makes 16"]),
    ({"prompts.per_iteration": 3}, ["prompts.per_iteration: 2 iterations with 3", "prompts.train makes 2"]),
    ({"prompts.per_iteration": 0}, ["prompts.per_iteration: must be 'all' or", "equal to 1", "0"]),
    ({"training.iterations": 10_000_000}, ["training.iterations: ", "10000000", "equal to 1000", "fill any disk"]),
    ({"variants.rebel.iterations": 10_000_000}, ["variants.rebel.iterations: ", "10000000", "equal to 1000"]),
    (
        {"training.iterations": 1000, "prompts.train": 4000, "prompts.dataset": "a/b"},
        ["prompts.part_size: it is 4", "1,001 parts", "policies", "100,000", "`training.iterations`"],
    ),
    ({"training.epochs": 0.5}, ["training.epochs: must be a whole number", "0.5"]),
    ({"training.epochs": HUGE}, ["training.epochs: ", "equal to 10000"]),
    ({"training.batch_size": 0}, ["training.batch_size: ", "0", "equal to 1"]),
    ({"training.pairs": 0}, ["training.pairs: ", "0", "equal to 1"]),
    ({"training.learning_rate": -1.0e-5}, ["training.learning_rate: ", "-1e-05", "equal to 1e-12"]),
    ({"training.learning_rate": 5.0}, ["training.learning_rate: ", "5.0", "equal to 1.0", "nothing of the policy"]),
    ({"training.learning_rate": NAN}, ["training.learning_rate: must be a finite number", "nan"]),
    ({"training.warmup": 10}, ["training.warmup: ", "10", "equal to 1"]),
    ({"training.adam_beta2": 1.0}, ["training.adam_beta2: ", "1.0", "less than 1"]),
    ({"training.adam_epsilon": 0.0}, ["training.adam_epsilon: ", "0.0", "equal to 1e-30"]),
    ({"training.weight_decay": 1.0e9}, ["training.weight_decay: ", "1000000000.0", "equal to 100"]),
    ({"training.max_grad_norm": 0}, ["training.max_grad_norm: ", "0", "equal to 1e-06"]),
    ({"training.max_grad_norm": INFINITE}, ["training.max_grad_norm: must be a finite number", "inf", "null"]),
    ({"training.lora": {"rank": HUGE}}, ["training.lora.rank: ", "equal to 65536"]),
    ({"variants.rebel.loss.eta": 1.0e300}, ["variants.rebel.loss.eta: ", "1e+300", "equal to 1000000000000"]),
    ({"variants.rebel.loss.eta": "1e6"}, ["variants.rebel.loss.eta: must be a number", "'1e6'", "1000000.0"]),
    (loss(name="dpo", beta=0), ["variants.rebel.loss.beta: ", "0", "equal to 1e-06"]),
    (loss(name="dpo", label_smoothing=0.5), ["variants.rebel.loss.label_smoothing: ", "0.5", "less than 0.5"]),
    (loss(name="ipo", tau=1e-300), ["variants.rebel.loss.tau: ", "1e-300", "equal to 1e-06"]),
    (loss(name="simpo", gamma=-1.0), ["variants.rebel.loss.gamma: ", "-1.0", "equal to 0"]),
    (loss(name="sppo", beta=1e-300), ["variants.rebel.loss.beta: ", "1e-300", "equal to 1e-06"]),
    ({"pairs.min_margin": -1}, ["pairs.min_margin: ", "-1", "equal to 0"]),
    ({"pairs.min_margin": 1.0e300}, ["pairs.min_margin: ", "1e+300", "equal to 1000000000.0"]),
    ({"pairs.choose": "margin"}, ["pairs: ", "`target_margin`", "`choose: margin`"]),
    ({"pairs.target_margin": 1.0}, ["pairs: ", "`target_margin`", "`choose: margin`"]),
    ({"evaluation.confidence": 95}, ["evaluation.confidence: ", "95", "less than 1", "0.95 for 95 %"]),
    ({"evaluation.bootstrap_samples": 10}, ["evaluation.bootstrap_samples: ", "10", "equal to 100"]),
    ({"evaluation.bootstrap_samples": HUGE}, ["evaluation.bootstrap_samples: ", "equal to 1000000"]),
    ({"report.examples": -1}, ["report.examples: ", "-1", "equal to 0"]),
    ({"report.examples": HUGE}, ["report.examples: ", "equal to 1000"]),
    ({"report.judge_label": LONG}, ["report.judge_label: ", "at most 60 characters"]),
    # hardware
    ({"hardware.train_policy.gpu": -1}, ["hardware.train_policy.gpu: ", "-1", "equal to 0"]),
    ({"hardware.train_policy.threads": 0}, ["hardware.train_policy.threads: ", "0", "equal to 1"]),
    ({"hardware.report.mem_mb": 10**18}, ["hardware.report.mem_mb: ", "equal to 100000000", "100 TB"]),
    ({"hardware.report.runtime": 10**9}, ["hardware.report.runtime: ", "equal to 525600", "a year"]),
    ({"hardware.gpu_memory_gb": 0}, ["hardware.gpu_memory_gb: ", "0", "equal to 1"]),
    ({"hardware.gpu_tflops": INFINITE}, ["hardware.gpu_tflops: must be a finite number", "inf"]),
    ({"hardware.train_policy.stop_seconds": 10**6}, ["hardware.train_policy.stop_seconds: ", "equal to 65535"]),
    ({"hardware.train_policy.strategy": "zero3"}, ["hardware.train_policy: strategy zero3 with 1 process", "`single`"]),
    (
        {"hardware.train_policy": {"gpu": 8, "nodes": 3}},
        ["hardware.train_policy: 8 process(es) on 3 nodes"],
    ),
    (
        {"hardware.train_policy": {"gpu": 8, "processes": 4}},
        ["hardware.train_policy: 8 GPU(s) for 4 process(es)"],
    ),
    (
        {"hardware.train_policy": {"gpu": 0, "processes": 2, "strategy": "fsdp2"}},
        ["hardware.train_policy: strategy fsdp2 needs GPUs", "ddp or zero3"],
    ),
    (
        {"training.optimizer": "adamw_8bit", "hardware.train_policy": {"gpu": 8}},
        ["variants.rebel: optimizer adamw_8bit", "single and ddp", "zero3"],
    ),
    # the tiny world
    ({"tiny.network.heads": 3}, ["tiny.network: heads: 3", "hidden_size 32", "allowed: 1, 2, 4, 8, 16"]),
    ({"tiny.network.hidden_size": 17}, ["tiny.network.hidden_size: ", "17", "multiple of 16"]),
    ({"tiny.network.layers": HUGE}, ["tiny.network.layers: ", "equal to 100"]),
    ({"tiny.vocabulary_size": 10}, ["tiny.vocabulary_size: ", "10", "equal to 320"]),
    ({"tiny.pretraining": {}}, ["tiny.pretraining.steps: this key is missing", "tiny.pretraining.learning_rate: "]),
    ({"tiny.mixture.correct": 2}, ["tiny.mixture.correct: ", "2", "equal to 1"]),
    ({"tiny": None}, ["base_model.name: no rule makes '{results}/world/policy'", "`tiny`"]),
    ({"base_model.name": "{results}/wrld"}, ["base_model.name: no rule makes", "'{results}/world/policy'"]),
    ({"base_model.name": "{world}/policy"}, ["base_model.name: no rule makes '{world}/policy'"]),
    ({"base_model.revision": "main"}, ["base_model.revision: it is 'main'", "null"]),
    ({"rewards.model": "{results}/world/policy"}, ["rewards.model: no rule makes", "'{results}/world/reward_model'"]),
    (imported(dataset="{results}/x"), ["responses.imported.dataset: no rule makes '{results}/x'", "a file or a hub"]),
    # models and datasets that are not there, or cannot be used
    ({"base_model.name": ""}, ["base_model.name: ", "''", "at least 1 character"]),
    ({"base_model.name": "./models/none"}, ["base_model.name: './models/none'", "no such folder", "owner/name"]),
    ({"base_model.name": "a/b/c"}, ["base_model.name: 'a/b/c'", "no hub name (owner/name)"]),
    ({"base_model.name": LONG}, ["base_model.name: 'xxx", "no hub name (owner/name)"]),
    ({"base_model.name": "empty_folder"}, ["base_model.name: 'empty_folder'", "no config.json"]),
    ({"base_model.name": "broken_model"}, ["base_model.name: 'broken_model'", "config.json is damaged"]),
    (
        {"base_model": {"name": "short_model", "revision": "main"}},
        ["base_model.name: 'short_model'", "a local folder has no revision", "`revision: main`"],
    ),
    ({"base_model": {"name": "a/b", "revision": ""}}, ["base_model.revision: it is ''", "null"]),
    ({"rewards.model": "no such"}, ["rewards.model: 'no such'", "owner/name"]),
    (
        two_scorers(scorer={"kind": "armo", "model": "./none"}),
        ["rewards.scorers.a.scorer.model: './none'", "no such folder"],
    ),
    ({"prompts.dataset": ""}, ["prompts.dataset: ", "''"]),
    ({"prompts.dataset": "none.jsonl"}, ["prompts.dataset: 'none.jsonl'", "no such file"]),
    ({"prompts.dataset": "data.csv"}, ["prompts.dataset: 'data.csv'", ".parquet, .jsonl, .json"]),
    ({"prompts.dataset": "empty_folder"}, ["prompts.dataset: 'empty_folder'", "a folder", ".parquet, .jsonl, .json"]),
    ({"prompts.dataset": LONG}, ["prompts.dataset: 'xxx", "no hub name"]),
    ({"prompts.dataset": "empty.jsonl"}, ["prompts.dataset: empty.jsonl", "empty"]),
    ({"prompts.dataset": "blank.jsonl"}, ["prompts.dataset: blank.jsonl", "no rows"]),
    ({"prompts.dataset": "cut.jsonl"}, ["prompts.dataset: cut.jsonl", "last line", "cut off"]),
    ({"prompts.dataset": "list.jsonl"}, ["prompts.dataset: list.jsonl: row 1 (line 2)", "no JSON object"]),
    ({"prompts.dataset": "utf16.jsonl"}, ["prompts.dataset: utf16.jsonl", "UTF-8"]),
    ({"prompts.dataset": "latin.jsonl"}, ["prompts.dataset: latin.jsonl: row 0", "UTF-8"]),
    ({"prompts.dataset": "text.jsonl"}, ["prompts.column: there is no column 'prompt' in text.jsonl", "'text'"]),
    ({"prompts.dataset": "messages.jsonl"}, ["prompts.column: ", "'prompt'", "not text", "'source'"]),
    ({"prompts.dataset": "cut.parquet"}, ["prompts.dataset: cut.parquet", "cut off, damaged"]),
    ({"prompts.dataset": "empty.parquet"}, ["prompts.dataset: empty.parquet", "empty"]),
    ({"prompts.dataset": "no_rows.parquet"}, ["prompts.dataset: no_rows.parquet", "no rows"]),
    (
        {"prompts.dataset": "messages.parquet", "prompts.column": "messages"},
        ["prompts.column: the column 'messages'", "not text", "Columns with text: 'prompt'"],
    ),
    (
        {"prompts.dataset": "messages.parquet", "prompts.column": "prompts"},
        ["prompts.column: there is no column 'prompts'", "'prompt'"],
    ),
    (imported(), ["responses.imported.dataset: this key is missing"]),
    (imported(dataset="none.parquet"), ["responses.imported.dataset: 'none.parquet'", "no such file"]),
    (
        imported(dataset="wide.jsonl"),
        ["responses.draws: wide.jsonl", "'response_2'", "set `responses.draws: 2`"],
    ),
    (
        {**imported(dataset="wide.jsonl", rewards=True), "responses.draws": 2},
        ["responses.imported.rewards: wide.jsonl", "'response_0_reward'", "set `false`"],
    ),
    (
        imported(dataset="wide.jsonl", column="text"),
        ["responses.imported.column: wide.jsonl", "'text'", "'prompt'"],
    ),
    # functions of the user
    (function("score"), ["rewards.function: ", "'score'", "`module:function`"]),
    (function("a:b:c"), ["rewards.function: ", "'a:b:c'", "`module:function`"]),
    (function("a..b:c"), ["rewards.function: ", "'a..b:c'", "`module:function`"]),
    (function(5), ["rewards.function: must be text", "5"]),
    (scorer(kind="function"), ["rewards.function: this key is missing", "`module:function`"]),
    (function("nowhere:score"), ["rewards.function: function 'nowhere:score'", "no module 'nowhere'"]),
    (function("mine.py:good"), ["rewards.function: function 'mine.py:good'", "'mine'", "without `.py`"]),
    (function("mine:god"), ["rewards.function: function 'mine:god'", "Did you mean 'good'?", "It defines: good"]),
    (function("mine:NUMBER"), ["rewards.function: function 'mine:NUMBER'", "is no function"]),
    (function("mine:one"), ["rewards.function: function 'mine:one'", "it takes (prompts)", "two lists"]),
    (function("broken:score"), ["rewards.function: function 'broken:score'", "broken.py, line 2: HALF = 1 / 0"]),
    (
        {"evaluation.judge": {"kind": "function", "function": "needs:score"}},
        ["evaluation.judge.function: function 'needs:score'", "No module named 'there_is_none'", "needs.py, line 1"],
    ),
]
PUBLISHED: list[Case] = [
    (
        {"responses.max_tokens": 7500},
        ["responses.max_tokens: it is 7500", "prompts.max_tokens (1024)", "context of 8192", "at most 7168"],
    ),
    ({"responses.max_model_len": 9000}, ["responses.max_model_len: it is 9000", "8192", "or null"]),
    (
        {"prompts.max_tokens": 9000},
        ["responses.max_tokens: ", "prompts.max_tokens (9000)", "a lower prompts.max_tokens"],
    ),
    ({"rewards.max_tokens": 10_000}, ["rewards.max_tokens: it is 10000", "8192", "at most that"]),
    ({"hardware.generate_responses.gpu": 3}, ["hardware.generate_responses.gpu: it is 3", "32", "1, 2, 4, 8, 16, 32"]),
    (
        {"training.lora": {"targets": ["q_prj"]}},
        ["training.lora.targets: ", "'q_prj'", "Did you mean 'q_proj'?", "'all-linear'"],
    ),
    (
        {"variants.dpo.lora": {"targets": ["q_proj", "query"]}},
        ["variants.dpo.lora.targets: ", "'query'", "down_proj, gate_proj, k_proj"],
    ),
    ({"hardware.train_policy": {"gpu": 1}}, ["hardware.train_policy, variant rebel", "80 GB"]),
    ({"hardware.train_policy.token_budget": 100_000}, ["hardware.train_policy, variant ", "100000 tokens", "80 GB"]),
]
CASES = [*(("micro", *case) for case in MICRO), *(("llama3-8b-ultrafeedback", *case) for case in PUBLISHED)]


def patched(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy with other values at `a.b.c`; the value `...` removes the key."""
    config = copy.deepcopy(config)
    for path, value in changes.items():
        *parents, last = path.split(".")
        section = config
        for key in parents:
            section = section.setdefault(key, {})
        if value is ...:
            del section[last]
        else:
            section[last] = value
    return config


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


@pytest.fixture(scope="module")
def working_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models, datasets and modules that the cases name."""
    folder = tmp_path_factory.mktemp("wrong")
    good = lines({"prompt": "a"}, {"prompt": "b"})
    files = {
        "empty.jsonl": b"",
        "blank.jsonl": b"\n \n",
        "cut.jsonl": good + b'{"prompt": "c',
        "list.jsonl": lines({"prompt": "a"}, ["b"]),
        "utf16.jsonl": good.decode().encode("utf-16"),
        "latin.jsonl": '{"prompt": "größe"}\n'.encode("latin-1"),
        "text.jsonl": lines({"text": "a"}),
        "messages.jsonl": lines({"prompt": [{"role": "user", "content": "a"}], "source": "x"}),
        "wide.jsonl": lines({"prompt": "a", "response_0": "x", "response_1": "y"}),
        "data.csv": b"prompt\na\n",
        "empty.parquet": b"",
        "mine.py": b"NUMBER = 3\ndef good(prompts, responses): return []\ndef one(prompts): return []\n",
        "broken.py": b"def score(prompts, responses): return []\nHALF = 1 / 0\n",
        "needs.py": b"import there_is_none\ndef score(prompts, responses): return []\n",
        "broken_model/config.json": b'{"hidden_size": ',
        "short_model/config.json": b'{"max_position_embeddings": 64}',
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    (folder / "empty_folder").mkdir()
    messages = pa.table({"prompt": ["a"], "messages": [[{"role": "user", "content": "a"}]]})
    pq.write_table(messages, folder / "messages.parquet")
    pq.write_table(messages.slice(1), folder / "no_rows.parquet")
    (folder / "cut.parquet").write_bytes((folder / "messages.parquet").read_bytes()[:-20])
    return folder


@pytest.fixture(autouse=True)
def in_the_working_folder(
    working_folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.chdir(working_folder)
    monkeypatch.setenv("HF_HOME", str(working_folder / "no_cache"))  # of the models only what the repository ships
    yield


def plan(config: dict[str, Any]) -> None:
    """What the Snakefile asks of a configuration before any job."""
    experiment = load_experiment(config, "config/wrong.yaml")
    check_sources(experiment)
    check_models(experiment)
    check_functions(experiment)
    check_memory(experiment, experiment.hardware.train_policy)


@pytest.mark.parametrize(
    ("base", "changes", "said"), CASES, ids=[f"{next(iter(changes))}-{said[0][:40]}" for _, changes, said in CASES]
)
def test_a_wrong_configuration_is_stopped_by_a_sentence(base: str, changes: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        plan(patched(CONFIGS[base], changes))
    message = str(caught.value)
    for words in said:
        assert words in message
    assert max(map(len, message.splitlines())) < 1000


@pytest.mark.parametrize("base", ["micro", "config", "llama3-8b-ultrafeedback"])
def test_the_configurations_of_the_repository_pass(base: str) -> None:
    plan(CONFIGS[base])


@pytest.mark.parametrize(
    "changes",
    [
        {"prompts.dataset": "wide.jsonl"},
        {"prompts.dataset": "messages.parquet"},
        {**imported(dataset="wide.jsonl"), "responses.draws": 2},
        function("mine:good"),
        {"training.lora": {"targets": ["q_proj", "down_proj"]}},
        {"responses.max_model_len": 88},
    ],
    ids=str,
)
def test_what_is_right_passes(changes: dict[str, Any]) -> None:
    plan(patched(CONFIGS["micro"], changes))


def test_a_package_that_only_the_jobs_environment_has_is_no_error() -> None:
    plan(patched(CONFIGS["micro"], {"environments": "conda", **function("needs:score")}))


def test_there_are_150_of_them() -> None:
    assert len(CASES) >= 150
