"""The program compute_logprobs, run for real."""

import json
from itertools import chain
from pathlib import Path

import pytest
import torch

from random_examples import example_rows
from rlhf.base.artifacts import read_provenance
from rlhf.base.provenance import digest
from rlhf.examples.schema import EXAMPLES
from rlhf.logprobs.schema import EXAMPLE_LOGPROBS, LOGPROBS, logprob_artifact
from rlhf.logprobs.settings import LogprobSpec
from rlhf.models.policies import load_policy
from rlhf.pairs.schema import PAIRS, artifact_of_pairs
from several_pairs import several_rows
from small_models import CPU, direct_logprob, pair_rows, run_program, save_small_policy

SPEC = {"model": None, "precision": "float32", "temperature": 0.8}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_policy(tmp_path_factory.mktemp("policy"))


def test_a_row_per_pair(tmp_path: Path, policy: Path) -> None:
    pairs = pair_rows(10)
    PAIRS.write(tmp_path / "pairs.parquet", pairs, {})
    output = tmp_path / "logprobs" / "part.parquet"
    flags = ("--spec", json.dumps(SPEC), "--pairs", tmp_path / "pairs.parquet", "--policy", policy)
    done = run_program("compute_logprobs", *flags, "--output", output, "--token-budget", 64)
    assert done.returncode == 0, done.stderr
    assert "log-probabilities: 10 of 10 pairs" in done.stderr

    model = load_policy(str(policy), None, "float32", CPU).double()
    rows = LOGPROBS.read(output).to_pylist()
    assert [row["prompt_id"] for row in rows] == [pair["prompt_id"] for pair in pairs]
    for row, pair in zip(rows, pairs, strict=True):
        for side in ("chosen", "rejected"):
            response = pair[f"{side}_token_ids"]
            with torch.no_grad():
                expected = float(direct_logprob(model, pair["prompt_token_ids"], response, 0.8))
            assert row[f"{side}_logprob"] == pytest.approx(expected, abs=1e-4)
            assert row[f"{side}_tokens"] == len(response)

    origin = read_provenance(output)
    assert origin["spec"] == SPEC
    assert origin["inputs"] == {"pairs": digest(tmp_path / "pairs.parquet"), "policy": digest(policy)}


def test_a_row_for_each_of_several_pairs(tmp_path: Path, policy: Path) -> None:
    pairs = list(chain.from_iterable(several_rows(6)))
    artifact = artifact_of_pairs(pooled=False, per_prompt=4)
    artifact.write(tmp_path / "pairs.parquet", pairs, {"spec": {"per_prompt": 4}})
    flags = ("--spec", json.dumps(SPEC), "--pairs", tmp_path / "pairs.parquet", "--policy", policy)
    done = run_program("compute_logprobs", *flags, "--output", tmp_path / "logprobs.parquet")
    assert done.returncode == 0, done.stderr
    assert "log-probabilities: 6 of 6 prompts" in done.stderr
    model = load_policy(str(policy), None, "float32", CPU).double()
    rows = logprob_artifact(artifact).read(tmp_path / "logprobs.parquet").to_pylist()
    assert [[row[name] for name in artifact.key] for row in rows] == [[row[n] for n in artifact.key] for row in pairs]
    for row, pair in zip(rows, pairs, strict=True):
        for side in ("chosen", "rejected"):
            with torch.no_grad():
                expected = direct_logprob(model, pair["prompt_token_ids"], pair[f"{side}_token_ids"], 0.8)
            assert row[f"{side}_logprob"] == pytest.approx(float(expected), abs=1e-4)
            assert row[f"{side}_tokens"] == len(pair[f"{side}_token_ids"])


def test_a_row_per_example(tmp_path: Path, policy: Path) -> None:
    """Of its response, and of the response to another prompt, both given its prompt."""
    examples = example_rows(10)
    EXAMPLES.write(tmp_path / "examples.parquet", examples, {})
    flags = ("--spec", json.dumps(SPEC), "--policy", policy, "--output", tmp_path / "part.parquet")
    done = run_program("compute_logprobs", *flags, "--examples", tmp_path / "examples.parquet", "--pairs")
    assert done.returncode == 0, done.stderr
    assert "log-probabilities: 10 of 10 examples" in done.stderr
    model = load_policy(str(policy), None, "float32", CPU).double()
    for row, example in zip(EXAMPLE_LOGPROBS.read(tmp_path / "part.parquet").to_pylist(), examples, strict=True):
        assert (row["prompt_id"], row["draw"]) == (example["prompt_id"], example["draw"])
        for kind, name in (("", "response"), ("other_", "other")):
            response = example[f"{name}_token_ids"]
            with torch.no_grad():
                expected = float(direct_logprob(model, example["prompt_token_ids"], response, 0.8))
            assert row[f"{kind}logprob"] == pytest.approx(expected, abs=1e-4)
            assert row[f"{kind}tokens"] == len(response)
    assert read_provenance(tmp_path / "part.parquet")["inputs"].keys() == {"examples", "policy"}
    done = run_program("compute_logprobs", *flags)
    assert done.returncode != 0
    assert "give either --pairs or --examples" in done.stderr


def test_help_explains_the_spec() -> None:
    done = run_program("compute_logprobs", "--help")
    assert done.returncode == 0
    for name in LogprobSpec.model_fields:
        assert f"\n  {name}: " in done.stdout
