"""The pairs of a training: errors name the file, and batches keep every pair."""

import math
import tracemalloc
from dataclasses import asdict, replace
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
from rlhf.pairs.schema import PAIRS, REWARD_COLUMNS, UNSCORED_PAIRS, Pair
from rlhf.training.data import epoch_order, micro_batches, pair_batch, read_pairs
from rlhf.training.loss import PairLoss
from small_models import pair_rows, random_ids, random_pairs, small_llama, train_spec, with_reference

DPO = train_spec({"name": "dpo"}, temperature=0.8)
LENGTHS = {"chosen_tokens": 410, "rejected_tokens": 410}
SIMPO = train_spec({"name": "simpo"}, temperature=0.8)


def write(
    folder: Path, seed: int, made_with: dict[str, Any] | None = None, of: int | None = None
) -> tuple[Path, Path, list[Pair]]:
    """Five pairs and their log-probabilities; `of` gives the log-probabilities of another seed's pairs instead."""
    whole = with_reference(small_llama(), random_pairs(5, seed if of is None else of), 0.8)
    logprobs = [pair.chosen_logprob for pair in whole], [pair.rejected_logprob for pair in whole]
    spec = {"model": None, "precision": "float32", "temperature": 0.8, **(made_with or {})}
    pair_file, logprob_file = folder / f"pairs-{seed}.parquet", folder / f"logprobs-{seed}.parquet"
    PAIRS.write(pair_file, pair_rows(5, seed), {})
    LOGPROBS.write(logprob_file, logprob_rows(whole, *logprobs), {"spec": spec})
    return pair_file, logprob_file, whole


def test_pairs_of_all_files_in_order_with_their_reference(tmp_path: Path) -> None:
    first, second = write(tmp_path, 1), write(tmp_path, 2)
    pairs = read_pairs([first[0], second[0]], [first[1], second[1]], DPO)
    expected = [*first[2], *second[2]]
    assert [pair.prompt_id for pair in pairs] == [pair.prompt_id for pair in expected]
    for pair, wanted in zip(pairs, expected, strict=True):
        assert list(pair.chosen_token_ids) == wanted.chosen_token_ids
        assert pair.chosen_logprob == pytest.approx(wanted.chosen_logprob, rel=1e-6)
        assert pair.rejected_logprob == pytest.approx(wanted.rejected_logprob, rel=1e-6)


def test_a_loss_without_a_reference_needs_no_log_probabilities(tmp_path: Path) -> None:
    pair_file, *_ = write(tmp_path, 1)
    pairs = read_pairs([pair_file], [], SIMPO)
    assert len(pairs) == 5
    assert math.isnan(pairs[0].chosen_logprob)


def test_a_loss_of_the_chosen_response_alone_gets_no_rejected_ones(tmp_path: Path) -> None:
    pair_file, _, whole = write(tmp_path, 1)
    pairs = read_pairs([pair_file], [], train_spec({"name": "sft"}))
    assert [list(pair.chosen_token_ids) for pair in pairs] == [pair.chosen_token_ids for pair in whole]
    assert all(len(pair.rejected_token_ids) == 0 for pair in pairs)
    tokens = [len(pair.prompt_token_ids) + len(pair.chosen_token_ids) for pair in whole]
    assert [pair.prompt_group.tokens for pair in pairs] == tokens
    assert pairs.longest == max(tokens)
    assert pairs[0].chosen_reward == pytest.approx(whole[0].chosen_reward)


def test_pairs_without_rewards_are_for_losses_that_need_none(tmp_path: Path) -> None:
    pair_file, logprob_file, _ = write(tmp_path, 1)
    unscored = tmp_path / "unscored.parquet"
    rows = [{**row, **dict.fromkeys(REWARD_COLUMNS)} for row in PAIRS.read(pair_file).to_pylist()]
    UNSCORED_PAIRS.write(unscored, rows, {"spec": {"chosen_score": None}})
    both = [unscored, pair_file], [logprob_file, logprob_file]
    pairs = read_pairs(*both, DPO)
    assert [math.isnan(pair.chosen_reward) for pair in pairs] == [True] * 5 + [False] * 5
    batch = pair_batch(list(pairs), torch.zeros(10), torch.zeros(10))
    assert DPO.loss.loss(batch).isfinite().all()
    for name in ("rebel", "sppo"):
        with pytest.raises(ArtifactError, match=f"{name} learns from rewards, and 5 of 10 pairs have none"):
            read_pairs(*both, train_spec({"name": name}, temperature=0.8))


@pytest.mark.parametrize("name", PairLoss.choices())
def test_a_loss_that_says_it_needs_no_rewards_reads_none(name: str) -> None:
    spec = train_spec({"name": name}, temperature=0.8)
    pairs = [replace(pair, **dict.fromkeys(REWARD_COLUMNS, math.nan)) for pair in random_pairs(4, 0)]
    pairs = [replace(pair, chosen_logprob=-1.0, rejected_logprob=-2.0) for pair in pairs]
    losses = spec.loss.loss(pair_batch(pairs, torch.full((4,), -1.5), torch.full((4,), -1.25)))
    assert bool(losses.isfinite().all()) != spec.loss.needs_rewards


def test_missing_log_probabilities(tmp_path: Path) -> None:
    first, second = write(tmp_path, 1), write(tmp_path, 2)
    with pytest.raises(ArtifactError, match=r"dpo needs reference .*: 2 file\(s\) of pairs .*, but 1 were given"):
        read_pairs([first[0], second[0]], [first[1]], DPO)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("temperature", 1.0, "computed with temperature 1.0, but training uses 0.8"),
        ("precision", "bfloat16", "computed with precision bfloat16, but training uses float32"),
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
    with pytest.raises(ArtifactError, match=r"logprobs-2.parquet: .* not those of the pairs in .*pairs-1.parquet"):
        read_pairs([first[0], second[0]], [second[1], first[1]], DPO)


def test_another_artifact_instead_of_log_probabilities(tmp_path: Path) -> None:
    pair_file, *_ = write(tmp_path, 1)
    with pytest.raises(ArtifactError, match=r"pairs-1.parquet: this is not a logprobs artifact"):
        read_pairs([pair_file], [pair_file], DPO)


def test_a_pair_of_the_published_length_takes_less_than_6_kb(tmp_path: Path) -> None:
    """UltraFeedback: prompts of 170 tokens, responses of 410, with their texts beside them in the file."""
    generator = torch.Generator().manual_seed(0)
    prompt, chosen, rejected = (random_ids(count, generator, 128_256) for count in (170, 410, 410))
    text = {"chosen": "a word " * 300, "rejected": "another " * 300}
    ids = {"prompt_token_ids": prompt, "chosen_token_ids": chosen, "rejected_token_ids": rejected}
    rows = [{**pair_rows(1)[0], **ids, **text, "prompt_id": f"{row:064}"} for row in range(2000)]
    logprobs = [
        {"prompt_id": row["prompt_id"], "chosen_logprob": 0.0, "rejected_logprob": 0.0, **LENGTHS} for row in rows
    ]
    PAIRS.write(tmp_path / "pairs.parquet", rows, {})
    made_with = {"model": None, "precision": "float32", "temperature": 0.8}
    LOGPROBS.write(tmp_path / "logprobs.parquet", logprobs, {"spec": made_with})

    before = pa.total_allocated_bytes()
    tracemalloc.start()
    pairs = read_pairs([tmp_path / "pairs.parquet"], [tmp_path / "logprobs.parquet"], DPO)
    first = pairs[0]
    held = pa.total_allocated_bytes() - before + tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held / len(pairs) < 6000
    assert isinstance(first.chosen_token_ids, np.ndarray)
    assert first.chosen_token_ids.tolist() == chosen
    assert not first.chosen_token_ids.flags.owndata  # a view of the table


def test_rows_and_batches_are_those_of_the_files(tmp_path: Path) -> None:
    """From any position in any file, as rows or as tensors of a batch."""
    first, second = write(tmp_path, 1), write(tmp_path, 2)
    pairs, expected = read_pairs([first[0], second[0]], [first[1], second[1]], DPO), [*first[2], *second[2]]
    assert len(pairs) == 10
    for index in (7, -1, 0, 4, 5):
        for name, value in asdict(pairs[index]).items():
            wanted = getattr(expected[index], name)
            value = value.tolist() if isinstance(value, np.ndarray) else value
            assert value == (np.float32(wanted) if isinstance(wanted, float) else wanted)
    assert [pair.prompt_id for pair in pairs[3:7]] == [pair.prompt_id for pair in expected[3:7]]
    with pytest.raises(IndexError):
        pairs[10]
    values = torch.arange(10.0)
    for column, wanted in zip(
        vars(pair_batch(pairs, values, -values)).values(),
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
    assert sorted(pair.prompt_id for group in groups for pair in group) == sorted(p.prompt_id for p in pairs)
    for group in groups:
        assert len(group) <= 1 or sum(map(tokens_of, group)) <= token_budget


def tokens_of(pair: Pair) -> int:
    return len(pair.prompt_token_ids) + len(pair.chosen_token_ids) + len(pair.rejected_token_ids)


def test_a_batch_has_the_stored_numbers_of_its_pairs() -> None:
    pairs = with_reference(small_llama(), random_pairs(3), 0.8)
    batch = pair_batch(pairs, torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([-4.0, -5.0, -6.0]))
    assert batch.chosen_logprob.tolist() == [-1, -2, -3]
    assert batch.rejected_logprob.tolist() == [-4, -5, -6]
    for column, expected in (
        (batch.chosen_reward, [pair.chosen_reward for pair in pairs]),
        (batch.rejected_reward, [pair.rejected_reward for pair in pairs]),
        (batch.chosen_win_probability, [pair.chosen_win_probability for pair in pairs]),
        (batch.rejected_win_probability, [pair.rejected_win_probability for pair in pairs]),
        (batch.chosen_tokens, [len(pair.chosen_token_ids) for pair in pairs]),
        (batch.rejected_tokens, [len(pair.rejected_token_ids) for pair in pairs]),
        (batch.reference_chosen_logprob, [pair.chosen_logprob for pair in pairs]),
        (batch.reference_rejected_logprob, [pair.rejected_logprob for pair in pairs]),
    ):
        assert column.dtype == torch.float32
        assert column.tolist() == pytest.approx(expected)


def test_without_a_reference_its_log_probabilities_are_nan() -> None:
    pairs = random_pairs(2)
    batch = pair_batch(pairs, torch.tensor([-1.0, -2.0]), torch.tensor([-4.0, -5.0]))
    assert DPO.loss.loss(batch).isnan().all()
    assert train_spec({"name": "rebel"}).loss.loss(batch).isnan().all()
    assert all(math.isfinite(value) for value in SIMPO.loss.loss(batch).tolist())
