"""Peak memory and time of the stages on the CPU, on the artifacts of `synthetic_results`: a line of JSON per stage.

Each program runs as in the pipeline, in a process of its own; the last value is its largest resident memory.

Arguments: the `scripts` folder to measure, the folder of the artifacts, the number of prompts in it, [stages ...].
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
PART = "test-000"
SPEC_OF_PART = {"start": -7000, "stop": 0}
SCORE_BY_FUNCTION = "def score(prompts, responses):\n    return [float(len(text)) for text in responses]\n"


class Stages:
    """The command of each stage."""

    def __init__(self, scripts: Path, data: Path, prompts: int, output: Path) -> None:
        self.scripts, self.data, self.prompts, self.output = scripts, data, prompts, output

    def build_pairs(self) -> list[object]:
        spec = {"rows": SPEC_OF_PART, "choose": "best_worst", "target_margin": None, "min_margin": 0.0, "seed": None}
        part = [f"--{kind}={self.data / 'base' / kind / PART}.parquet" for kind in ("responses", "rewards")]
        return self.program("build_pairs", spec, "--prompts", self.data / "prompts.parquet", *part)

    def score_by_function(self) -> list[object]:
        (self.output / "made_up_reward.py").write_text(SCORE_BY_FUNCTION)
        scorer = {"kind": "function", "function": "made_up_reward:score"}
        spec = {"rows": SPEC_OF_PART, "scorer": scorer, "model": None}
        responses = self.data / "base/responses" / f"{PART}.parquet"
        return self.program(
            "score_responses", spec, "--prompts", self.data / "prompts.parquet", "--responses", responses
        )

    def score_by_model(self) -> list[object]:
        return [HERE / "scoring_without_model.py", self.data, PART]

    def evaluate_policy(self) -> list[object]:
        spec = {"seed": 1, "policy": "rebel-1", "bootstrap_samples": 100, "confidence": 0.95}
        flags = [
            flag
            for kind in ("responses", "rewards", "judgements")
            for name, policy in ((kind, "rebel-1"), (f"base-{kind}", "base"))
            for flag in (f"--{name}", *self.parts(policy, kind))
        ]
        return self.program("evaluate_policy", spec, *flags, "--comparisons", self.output / "comparisons.parquet")

    def length_control(self) -> list[object]:
        return self.program("length_control", {}, "--comparisons", self.output / "comparisons.parquet")

    def report(self) -> list[object]:
        spec = {"experiment": "synthetic", "policies": ["base", "rebel-1"], "judge_label": "judge", "examples": 4}
        flags: list[object] = ["--evaluations", *self.evaluations(), "--prompts", self.data / "prompts.parquet"]
        flags += ["--length-control", self.output / "length_control.parquet"]
        for kind in ("responses", "rewards", "judgements", "pairs"):
            flags += [f"--{kind}", *self.parts("base", kind), *(self.parts("rebel-1", kind) if kind != "pairs" else [])]
        return self.program("report", spec, *flags)

    def collect_prompts(self) -> list[object]:
        spec = {
            **dict.fromkeys(("dataset", "dataset_fingerprint", "revision", "system", "model")),
            **{"seed": 1, "split": "train", "column": "prompt", "max_tokens": 100_000},
        }
        policy = self.output / "policy"
        command = [sys.executable, HERE / "tokenizer_folder.py", policy]
        subprocess.run(command, check=True, env=self.environment())
        return self.program("collect_prompts", spec, "--dataset", self.data / "dataset.parquet", "--base-model", policy)

    def training_data(self) -> list[object]:
        return [HERE / "training_data.py", 1, *self.parts("base", "pairs"), *self.parts("base", "logprobs")]

    def training_data_of_two(self) -> list[object]:
        return [HERE / "training_data.py", 2, *self.parts("base", "pairs"), *self.parts("base", "logprobs")]

    def program(self, name: str, spec: object, *flags: object) -> list[object]:
        output = self.output / (name if name == "report" else f"{name}.parquet")
        return [self.scripts / f"{name}.py", "--spec", json.dumps(spec), *flags, "--output", output]

    def parts(self, policy: str, kind: str) -> list[Path]:
        return sorted((self.data / policy / kind).glob("*.parquet"))

    def evaluations(self) -> list[Path]:
        """The evaluation made by the stage before, used for both policies."""
        paths = [self.output / policy / "evaluation.parquet" for policy in ("base", "rebel-1")]
        for path in paths:
            path.parent.mkdir(exist_ok=True)
            shutil.copy(self.output / "evaluate_policy.parquet", path)
        return paths

    def environment(self) -> dict[str, str]:
        modules = map(str, [self.output, self.scripts, HERE, HERE.parent / "support"])
        return {**os.environ, "PYTHONPATH": os.pathsep.join(modules)}


def measure(stages: Stages, stage: str) -> dict[str, object]:
    """Seconds and peak of a stage, and what it prints (the data of training measure themselves)."""
    command = [sys.executable, *map(str, getattr(stages, stage)())]
    start = time.monotonic()
    printed = tempfile.TemporaryFile()  # noqa: SIM115
    process = subprocess.Popen(
        command, env=stages.environment(), cwd=stages.output, stdout=printed, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    printed.seek(0)
    return {
        "stage": stage,
        "prompts": stages.prompts,
        "status": os.waitstatus_to_exitcode(status),
        "seconds": round(time.monotonic() - start, 1),
        "peak_mb": round(usage.ru_maxrss * 1024 / 1e6),
        "printed": printed.read().decode().strip(),
    }


STAGES: list[Callable[[Stages], list[object]]] = [
    Stages.build_pairs,
    Stages.score_by_function,
    Stages.score_by_model,
    Stages.evaluate_policy,
    Stages.length_control,
    Stages.report,
    Stages.training_data,
    Stages.training_data_of_two,
    Stages.collect_prompts,
]


def main() -> None:
    scripts, data, prompts, *chosen = sys.argv[1:]
    with tempfile.TemporaryDirectory() as output:
        stages = Stages(Path(scripts).resolve(), Path(data).resolve(), int(prompts), Path(output))
        for stage in chosen or [function.__name__ for function in STAGES]:
            print(json.dumps(measure(stages, stage)), flush=True)


if __name__ == "__main__":
    main()
