"""Benchmarks and their judges: what is changed of config/micro.yaml, and what is said."""

from wrong_changes import Case

BENCHMARKS: list[Case] = [
    ({"benchmarks.run": {"mt_bench": {}}}, ["benchmarks: mt_bench needs a `judge`, and there is none"]),
    ({"benchmarks.run": {"mt bench": {}}}, ["benchmarks.run.mt bench: this name", "pattern"]),
    (
        {"benchmarks.run": {"gsm8k": {"data": "a", "revision": "main"}}},
        ["benchmarks.run.gsm8k: `data` ('a')", "no `revision`"],
    ),
    (
        {"benchmarks.judge": {"model": "a", "key_variable": "KEY"}},
        ["benchmarks.judge: `key_variable` ('KEY') is the key of a server", "give its `url`"],
    ),
    (
        {"benchmarks.judge": {"model": "a", "url": "http://x/v1", "revision": "main"}},
        ["benchmarks.judge: `revision` ('main')", "leave it out, or `url`"],
    ),
    (
        {"benchmarks": {"judge": {"model": "a", "url": "http://x/v1"}, "budget": {"money": 1.0}}},
        ["benchmarks: `budget.money` needs the prices of the judge"],
    ),
    (
        {"hardware.run_benchmark": {"gpu": 3, "judge_tensor_parallel": 2}},
        ["hardware.run_benchmark: judge_tensor_parallel 2: `gpu` (3) is not a multiple of it"],
    ),
    ({"benchmarks.run": {"gsm8k": {"data": "none"}}}, ["benchmarks.run.gsm8k.data: there is no folder 'none'"]),
    (
        {"benchmarks": {"run": {"gsm8k": {}}, "judge": {"model": "empty_folder"}}},
        ["benchmarks.judge.model: 'empty_folder'", "no config.json"],
    ),
]
