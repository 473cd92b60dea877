"""The pairs of a training: errors name the file, and batches keep every pair."""

import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf.base.artifacts import ArtifactError
from rlhf.logprobs.pairs import logprob_rows
from rlhf.logprobs.schema import LOGPROBS
from rlhf.pairs.schema import PAIRS
from rlhf.training.data import epoch_order, micro_batches, pair_batch, read_pairs
from small_models import random_ids, random_pairs, small_llama, train_spec, with_reference

DPO = train_spec({"name": "dpo"}, temperature=0.8)
SIMPO = train_spec({"name": "simpo"}, temperature=0.8)


def write(
    folder: Path, seed: int, made_with: dict[str, Any] | None = None, of: int | None = None
) -> tuple[Path, Path, list[dict[str, Any]]]:
    """Five pairs and their log-probabilities, or with `of`, the log-probabilities of another seed's pairs."""
    pairs = random_pairs(5, seed)
    whole = with_reference(small_llama(), random_pairs(5, seed if of is None else of), 0.8)
    reference = [{name: row[name] for name in LOGPROBS.schema.names} for row in whole]
    spec = {"model": None, "precision": "float32", "temperature": 0.8, **(made_with or {})}
    pair_file, logprob_file = folder / f"pairs-{seed}.parquet", folder / f"logprobs-{seed}.parquet"
    PAIRS.write(pair_file, pairs, {})
    LOGPROBS.write(logprob_file, reference, {"spec": spec})
    return pair_file, logprob_file, whole


def test_pairs_of_all_files_in_order_with_their_reference(tmp_path: Path) -> None:
    first, second = write(tmp_path, 1), write(tmp_path, 2)
    rows = read_pairs([first[0], second[0]], [first[1], second[1]], DPO)
    expected = [*first[2], *second[2]]
    assert [row["prompt_id"] for row in rows] == [row["prompt_id"] for row in expected]
    for row, wanted in zip(rows, expected, strict=True):
        assert row["chosen_token_ids"].tolist() == wanted["chosen_token_ids"]
        assert row["chosen_logprob"] == pytest.approx(wanted["chosen_logprob"], rel=1e-6)
        assert row["rejected_logprob"] == pytest.approx(wanted["rejected_logprob"], rel=1e-6)


def test_a_loss_without_a_reference_needs_no_log_probabilities(tmp_path: Path) -> None:
    pair_file, *_ = write(tmp_path, 1)
    rows = read_pairs([pair_file], [], SIMPO)
    assert len(rows) == 5
    assert "chosen_logprob" not in rows[0]


def test_missing_log_probabilities(tmp_path: Path) -> None:
    first, second = write(tmp_path, 1), write(tmp_path, 2)
    with pytest.raises(ArtifactError, match=r"2 file\(s\) of pairs .* dpo has a reference; 1 were given"):
        read_pairs([first[0], second[0]], [first[1]], DPO)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("temperature", 1.0, "computed with temperature 1.0, but training is set to 0.8"),
        ("precision", "bfloat16", "computed with precision bfloat16, but training is set to float32"),
    ],
)
def test_log_probabilities_of_other_settings(tmp_path: Path, key: str, value: object, message: str) -> None:
    first, second = write(tmp_path, 1), write(tmp_path, 2, made_with={key: value})
    with pytest.raises(ArtifactError) as error:
        read_pairs([first[0], second[0]], [first[1], second[1]], DPO)
    assert str(error.value) == f"{second[1]}: {message}"


def test_log_probabilities_of_other_pairs(tmp_path: Path) -> None:
    first, second = write(tmp_path, 1), write(tmp_path, 2, of=3)
    with pytest.raises(ArtifactError) as error:
        read_pairs([first[0], second[0]], [first[1], second[1]], DPO)
    assert str(error.value).startswith(f"{second[1]}: ")
    assert str(second[0]) in str(error.value)


def test_log_probabilities_in_the_order_of_other_files(tmp_path: Path) -> None:
    first, second = write(tmp_path, 1), write(tmp_path, 2)
    with pytest.raises(ArtifactError, match=r"logprobs-2.parquet: .* other pairs than those of .*pairs-1.parquet"):
        read_pairs([first[0], second[0]], [second[1], first[1]], DPO)


def test_another_artifact_instead_of_log_probabilities(tmp_path: Path) -> None:
    pair_file, *_ = write(tmp_path, 1)
    with pytest.raises(ArtifactError, match=r"pairs-1.parquet: not a logprobs artifact"):
        read_pairs([pair_file], [pair_file], DPO)


def test_a_pair_of_the_published_length_takes_less_than_6_kb(tmp_path: Path) -> None:
    """UltraFeedback: prompts of 170 tokens, responses of 410, with their texts beside them in the file."""
    generator = torch.Generator().manual_seed(0)
    prompt, chosen, rejected = (random_ids(count, generator, 128_256) for count in (170, 410, 410))
    text = {"chosen": "a word " * 300, "rejected": "another " * 300}
    ids = {"prompt_token_ids": prompt, "chosen_token_ids": chosen, "rejected_token_ids": rejected}
    pairs = [{**random_pairs(1)[0], **ids, **text, "prompt_id": f"{row:064}"} for row in range(2000)]
    zero = torch.zeros(len(pairs)).tolist()
    PAIRS.write(tmp_path / "pairs.parquet", pairs, {})
    made_with = {"model": None, "precision": "float32", "temperature": 0.8}
    LOGPROBS.write(tmp_path / "logprobs.parquet", logprob_rows(pairs, zero, zero), {"spec": made_with})

    before = pa.total_allocated_bytes()
    tracemalloc.start()
    rows = read_pairs([tmp_path / "pairs.parquet"], [tmp_path / "logprobs.parquet"], DPO)
    first = [dict(row) for row in rows[:1]]
    held = pa.total_allocated_bytes() - before + tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held / len(rows) < 6000
    assert first[0]["chosen_token_ids"].tolist() == chosen
    assert not first[0]["chosen_token_ids"].flags.owndata  # a view of the table


def test_rows_and_batches_are_those_of_the_files(tmp_path: Path) -> None:
    """From any position in any file, as rows or as tensors of a batch."""
    first, second = write(tmp_path, 1), write(tmp_path, 2)
    rows, expected = read_pairs([first[0], second[0]], [first[1], second[1]], DPO), [*first[2], *second[2]]
    assert len(rows) == 10
    for index in (7, -1, 0, 4, 5):
        for name, value in rows[index].items():
            wanted = expected[index][name]
            value = value.tolist() if isinstance(value, np.ndarray) else value
            assert value == (np.float32(wanted) if isinstance(wanted, float) else wanted)
    assert [row["prompt_id"] for row in rows[3:7]] == [row["prompt_id"] for row in expected[3:7]]
    with pytest.raises(IndexError):
        rows[10]
    values = torch.arange(10.0)
    for column, wanted in zip(
        vars(pair_batch(rows, values, -values)).values(),
        vars(pair_batch(expected, values, -values)).values(),
        strict=True,
    ):
        torch.testing.assert_close(column, wanted)


seeds = st.integers(0, 2**63 - 1)


@given(st.integers(0, 300), seeds, st.integers(0, 5))
def test_the_order_of_an_epoch_is_a_permutation(pairs: int, seed: int, epoch: int) -> None:
    assert sorted(epoch_order(pairs, seed, epoch).tolist()) == list(range(pairs))


@given(seeds, st.integers(0, 5))
def test_the_order_depends_only_on_seed_and_epoch(seed: int, epoch: int) -> None:
    torch.manual_seed(1)
    order = epoch_order(100, seed, epoch).tolist()
    epoch_order(100, seed, epoch + 2)  # replaces the cached one
    torch.manual_seed(2)
    torch.rand(3)
    assert epoch_order(100, seed, epoch).tolist() == order
    assert epoch_order(100, seed, epoch + 1).tolist() != order
    assert epoch_order(100, (seed + 1) % 2**63, epoch).tolist() != order


@given(st.integers(1, 30), st.integers(0, 50), st.integers(1, 400), st.integers(1, 3))
def test_micro_batches_keep_each_pair_once_within_the_budget(
    count: int, seed: int, token_budget: int, processes: int
) -> None:
    pairs = random_pairs(count, seed)
    shares = [micro_batches(pairs, token_budget, process, processes) for process in range(processes)]
    assert len({len(share) for share in shares}) == 1
    groups = [group for share in shares for group in share]
    assert sorted(pair["prompt_id"] for group in groups for pair in group) == sorted(p["prompt_id"] for p in pairs)
    columns = ("prompt_token_ids", "chosen_token_ids", "rejected_token_ids")
    for group in groups:
        assert len(group) <= 1 or sum(len(pair[column]) for pair in group for column in columns) <= token_budget


def test_a_batch_has_the_stored_numbers_of_its_pairs() -> None:
    pairs = with_reference(small_llama(), random_pairs(3), 0.8)
    batch = pair_batch(pairs, torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([-4.0, -5.0, -6.0]))
    assert batch.chosen_logprob.tolist() == [-1, -2, -3]
    assert batch.rejected_logprob.tolist() == [-4, -5, -6]
    for name in ("chosen_reward", "rejected_reward", "chosen_tokens", "rejected_tokens"):
        column = getattr(batch, name)
        assert column.dtype == torch.float32
        assert column.tolist() == pytest.approx([pair[name] for pair in pairs])
    for side in ("chosen", "rejected"):
        reference = getattr(batch, f"reference_{side}_logprob")
        assert reference.tolist() == pytest.approx([pair[f"{side}_logprob"] for pair in pairs])


def test_without_a_reference_its_log_probabilities_are_nan() -> None:
    pairs = random_pairs(2)
    batch = pair_batch(pairs, torch.tensor([-1.0, -2.0]), torch.tensor([-4.0, -5.0]))
    assert DPO.loss.loss(batch).isnan().all()
    assert train_spec({"name": "rebel"}).loss.loss(batch).isnan().all()
    assert all(math.isfinite(value) for value in SIMPO.loss.loss(batch).tolist())
