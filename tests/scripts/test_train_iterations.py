"""The real program train_policy where start, reference and pairs are not all of the parent."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlhf.base.artifacts import read_provenance
from rlhf.base.provenance import digest
from rlhf.training.schema import TRAINING
from small_models import run_program, save_small_policy
from training_inputs import flags, spec, write_all, write_pairs

DPO = {"name": "dpo", "beta": 0.1, "label_smoothing": 0.0}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_policy(tmp_path_factory.mktemp("start"), seed=1)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_policy(tmp_path_factory.mktemp("reference"), seed=2)


def settings(**lineage: Any) -> dict[str, Any]:
    """A training of `trained-2`, whose parent is `trained-1`."""
    found = spec(DPO, "float32")
    return {**found, "policy": "trained-2", "lineage": {**found["lineage"], "parent": "trained-1", **lineage}}


@pytest.mark.parametrize("strategy", ["single", "ddp", pytest.param("zero3", marks=pytest.mark.slow)])
def test_a_separate_reference_is_what_the_log_ratios_are_to(
    tmp_path: Path, start: Path, reference: Path, strategy: str
) -> None:
    write_all(tmp_path, reference, "float32")
    output = tmp_path / "trained-2"
    asked = settings(reference="base")
    processes = [] if strategy == "single" else ["--strategy", strategy, "--processes", 2]
    done = run_program("train_policy", *flags(tmp_path, start, output, asked), "--reference", reference, *processes)
    assert done.returncode == 0, done.stderr
    first, second, *_ = TRAINING.read(output / "training.parquet").to_pylist()
    assert first["sign_agreement"] not in (None, 0.0)  # of a start that is its reference no margin is positive
    assert abs(second["chosen_logratio"]) > 0.1
    origin = read_provenance(output / "training.parquet")
    assert origin["spec"] == asked
    assert origin["inputs"]["policy"] == digest(start)
    assert origin["inputs"]["reference"] == digest(reference)
    card = (output / "checkpoint/README.md").read_text()
    assert "13 preference pairs of responses of `trained-1`, from which it starts. Its reference is `base`." in card


@pytest.mark.parametrize("which", ["validation", "train"])
def test_log_probabilities_of_another_model_than_the_reference_are_refused(
    tmp_path: Path, start: Path, reference: Path, which: str
) -> None:
    """Also those of the start: nothing says that they are wrong but the reference itself."""
    write_all(tmp_path, reference, "float32")
    name, seed, count = {"validation": ("test", 2, 6), "train": ("second", 1, 5)}[which]
    write_pairs(tmp_path, name, seed, count, start, "float32")
    asked = flags(tmp_path, start, tmp_path / "out", settings(reference="base"))
    done = run_program("train_policy", *asked, "--reference", reference)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: the reference base is not the reference of its pairs")
    assert not (tmp_path / "out/checkpoint").exists()


def test_a_reference_is_given_where_it_is_needed_and_nowhere_else(tmp_path: Path, start: Path, reference: Path) -> None:
    write_all(tmp_path, reference, "float32")
    done = run_program("train_policy", *flags(tmp_path, start, tmp_path / "out", settings(reference="base")))
    assert done.returncode == 1
    assert "no model: give its folder with the flag" in done.stderr
    asked = flags(tmp_path, start, tmp_path / "out", settings())
    done = run_program("train_policy", *asked, "--reference", reference)
    assert done.returncode == 1
    assert "by --spec the training starts from its reference" in done.stderr


def test_earlier_pairs_are_trained_on_and_checked_at_the_start(tmp_path: Path, start: Path) -> None:
    write_all(tmp_path, start, "float32")
    write_pairs(tmp_path, "earlier", 7, 12, start, "float32")
    earlier = ["--earlier-pairs", tmp_path / "earlier.parquet", "--earlier-logprobs"]
    asked = {**settings(earlier=["base"]), "earlier_share": 0.2}
    output = tmp_path / "trained-2"
    done = run_program(
        "train_policy", *flags(tmp_path, start, output, asked), *earlier, tmp_path / "earlier-logprobs.parquet"
    )
    assert done.returncode == 0, done.stderr
    card = (output / "checkpoint/README.md").read_text()
    assert "16 preference pairs of responses of `trained-1` and, from earlier iterations, of `base` (20 %" in card
    assert "of the pairs). It starts from `trained-1`." in card
    inputs = json.loads((output / "checkpoint/provenance.json").read_text())["inputs"]
    assert inputs["earlier_pairs"] == [digest(tmp_path / "earlier.parquet")]
    assert len(inputs["pairs"]) == 2 and "reference" not in inputs

    other = save_small_policy(tmp_path / "other", seed=5)
    write_pairs(tmp_path, "earlier", 7, 12, other, "float32")
    again = flags(tmp_path, start, tmp_path / "out", asked)
    done = run_program("train_policy", *again, *earlier, tmp_path / "earlier-logprobs.parquet")
    assert done.returncode == 1
    assert "error: the policy is not the reference of its pairs" in done.stderr
