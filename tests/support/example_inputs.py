"""Examples, log-probabilities and flags of a small training on examples, as the rule passes them to `train_policy`."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from random_examples import example_rows, random_examples
from rlhf.examples.schema import EXAMPLES
from rlhf.logprobs.examples import example_logprob_rows
from rlhf.logprobs.groups import group_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.logprobs.schema import EXAMPLE_LOGPROBS
from rlhf.models.policies import load_policy
from small_models import CPU
from training_inputs import TEMPERATURE

FILES = {"first": 8, "second": 5, "test": 6}
"""Two train parts and one of test prompts, with their numbers of examples."""


def write_examples(folder: Path, reference: Path) -> None:
    """`<name>.parquet` and `<name>-logprobs.parquet`."""
    model = ResponseLogprobs(load_policy(str(reference), None, "float32", CPU), TEMPERATURE)
    made_with = {"model": None, "precision": "float32", "temperature": TEMPERATURE}
    for seed, (name, count) in enumerate(FILES.items()):
        examples = random_examples(count, seed)
        rows = pa.Table.from_pylist(example_rows(count, seed), schema=EXAMPLES.schema)
        EXAMPLES.write(folder / f"{name}.parquet", rows, {})
        values = group_logprobs(model, [example.both for example in examples], "float32", 100)
        found = example_logprob_rows(examples, values)
        EXAMPLE_LOGPROBS.write(folder / f"{name}-logprobs.parquet", found, {"spec": made_with})


def example_flags(folder: Path, policy: Path, output: Path, settings: dict[str, Any]) -> list[object]:
    """The first part is of the parent, the second of an earlier iteration."""
    found: list[object] = ["--spec", json.dumps(settings), "--policy", policy]
    found += ["--checkpoint", output / "checkpoint", "--metrics", output / "training.parquet"]
    for flag, name in {"": "first", "earlier-": "second", "validation-": "test"}.items():
        found += [f"--{flag}examples", folder / f"{name}.parquet", f"--{flag}logprobs"]
        found += [folder / f"{name}-logprobs.parquet"]
    return found
