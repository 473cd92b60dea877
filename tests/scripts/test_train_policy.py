"""The real program train_policy, on log-probabilities by compute_logprobs' own function."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf.base.artifacts import Artifact, read_provenance
from rlhf.base.provenance import digest
from rlhf.base.settings import Precision
from rlhf.logprobs.schema import LOGPROBS
from rlhf.pairs.schema import PAIRS
from rlhf.training.schema import TRAINING
from rlhf.training.settings import TrainSpec
from small_models import run_program, save_small_policy
from training_inputs import WITHOUT_REFERENCE, flags, spec, write_all, write_pairs


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_policy(tmp_path_factory.mktemp("policy"))


@pytest.mark.parametrize(
    ("loss", "precision"),
    [
        ({"name": "rebel", "eta": 1e6}, "bfloat16"),
        ({"name": "simpo", "beta": 2.0, "gamma": 1.0}, "float32"),
        ({"name": "sft"}, "float32"),
        ({"name": "dpo", "beta": 0.5, "label_smoothing": 0.0, "sft_weight": 0.3, "wpo": True}, "bfloat16"),
    ],
    ids=["rebel-bfloat16", "simpo-float32", "sft-float32", "weighted-bfloat16"],
)
def test_a_trained_policy(tmp_path: Path, policy: Path, loss: dict[str, Any], precision: Precision) -> None:
    write_all(tmp_path, policy, precision)
    settings = spec(loss, precision)
    output = tmp_path / "trained-1"
    done = run_program("train_policy", *flags(tmp_path, policy, output, settings), "--token-budget", 200)
    assert done.returncode == 0, done.stderr
    assert "training trained-1: 12 of 12 pairs" in done.stderr

    metrics = TRAINING.read(output / "training.parquet").to_pylist()
    assert [row["step"] for row in metrics] == [0, 1, 2, 3]
    assert [row["step"] for row in metrics if row["validation_loss"] is not None] == [0, 2, 3]
    has_reference = loss["name"] not in WITHOUT_REFERENCE
    if has_reference:
        tolerance = 1e-4 if precision == "float32" else 2e-2
        assert abs(metrics[1]["chosen_logratio"]) < 12 * tolerance

    trained, parent = (AutoModelForCausalLM.from_pretrained(path) for path in (output / "checkpoint", policy))
    assert trained.dtype == getattr(torch, precision)
    assert not torch.equal(trained.get_output_embeddings().weight, parent.get_output_embeddings().weight)
    assert trained.generation_config.eos_token_id == parent.generation_config.eos_token_id
    tokenizers = [AutoTokenizer.from_pretrained(path) for path in (output / "checkpoint", policy)]
    assert tokenizers[0].chat_template == tokenizers[1].chat_template

    origin = read_provenance(output / "training.parquet")
    assert origin["spec"] == settings
    assert origin["inputs"]["pairs"] == [digest(tmp_path / f"{name}.parquet") for name in ("first", "second")]
    assert origin["inputs"]["policy"] == digest(policy)
    assert len(origin["inputs"].get("logprobs", [])) == (2 if has_reference else 0)
    assert origin["margin"] == TrainSpec.model_validate(settings).loss.margin_meaning
    assert (metrics[-1]["sign_agreement"] is None) == (loss["name"] == "sft")
    of_checkpoint = json.loads((output / "checkpoint" / "provenance.json").read_text())
    assert {**of_checkpoint, "artifact": "training"} == origin


def test_a_train_part_of_another_model_is_refused(tmp_path: Path, policy: Path) -> None:
    """The log-probabilities of validation and of one train part are right, those of the other are not."""
    write_all(tmp_path, policy, "float32")
    write_pairs(tmp_path, "second", 1, 5, save_small_policy(tmp_path / "other", seed=1), "float32")
    done = run_program("train_policy", *flags(tmp_path, policy, tmp_path / "out", spec({"name": "dpo"}, "float32")))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: the policy is not the reference of its pairs")
    assert not list((tmp_path / "out").rglob("*"))


def test_help_explains_the_spec() -> None:
    done = run_program("train_policy", "--help")
    assert done.returncode == 0
    for name in TrainSpec.model_fields:
        assert f"\n  {name}: " in done.stdout


@pytest.mark.parametrize("part", ["second", "test"])
def test_parts_of_two_revisions_are_refused_by_name(tmp_path: Path, policy: Path, part: str) -> None:
    """A push to the hub between two jobs: no numbers in the files would show it."""

    def add(artifact: Artifact, name: str, **facts: Any) -> Path:
        path = tmp_path / f"{name}.parquet"
        artifact.write(path, artifact.read(path), {**read_provenance(path), **facts})
        return path

    write_all(tmp_path, policy, "float32")
    commits = dict.fromkeys(("first", "second", "test"), "a" * 40) | {part: "b" * 40}
    pairs = {name: add(PAIRS, name, revisions={"policy": commit}) for name, commit in commits.items()}
    for name in commits:
        add(LOGPROBS, f"{name}-logprobs", model_revision="a" * 40)
    output = tmp_path / "trained-1"
    settings = spec({"name": "rebel", "eta": 1e6}, "float32")
    done = run_program("train_policy", *flags(tmp_path, policy, output, settings))
    assert done.returncode == 1
    first, other = f"{pairs['first']} has commit {'a' * 40}", f"{pairs[part]} has commit {'b' * 40}"
    assert f"error: two revisions of the policy are mixed: {first}, but {other}." in done.stderr
    assert not output.exists()
