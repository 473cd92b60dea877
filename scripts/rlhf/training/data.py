"""Pairs to train on, with their reference log-probabilities, and batches of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import torch

from rlhf.base.artifacts import ArtifactError, read_provenance
from rlhf.logprobs.pairs import prompt_group
from rlhf.logprobs.schema import LOGPROBS
from rlhf.pairs.schema import PAIR_COLUMNS, PAIRS, Pair, PairTable
from rlhf.tokens.packing import balanced_packs
from rlhf.training.loss import PairBatch
from rlhf.training.settings import TrainSpec

STORED = (
    "chosen_logprob",
    "rejected_logprob",
    "chosen_reward",
    "rejected_reward",
    "chosen_win_probability",
    "rejected_win_probability",
)
"""Stored numbers of a pair that losses read, in the order of `PairBatch`."""


def read_pairs(
    pair_files: Sequence[Path],
    logprob_files: Sequence[Path],
    spec: TrainSpec,
    share: Callable[[Callable[[], Iterator[pa.Table]]], pa.Table] = lambda read: pa.concat_tables(read()),
) -> PairTable:
    """The pairs of all files in order, with their reference log-probabilities if the loss needs them.

    Args:
        share: calls its argument and concatenates the tables; may do so once for several processes of one machine.

    Raises:
        ArtifactError: log-probabilities are missing, or belong to other pairs, another temperature or precision.
    """
    if spec.loss.needs_reference and len(logprob_files) != len(pair_files):
        raise ArtifactError(
            f"{len(pair_files)} file(s) of pairs need as many files of log-probabilities, because the loss "
            f"{spec.loss.name} has a reference; {len(logprob_files)} were given"
        )

    def read() -> Iterator[pa.Table]:
        if not spec.loss.needs_reference:
            return (PAIRS.read(path, PAIR_COLUMNS) for path in pair_files)
        return (_with_reference(*files, spec) for files in zip(pair_files, logprob_files, strict=True))

    return PairTable(share(read))


def _with_reference(pair_file: Path, logprob_file: Path, spec: TrainSpec) -> pa.Table:
    pairs = PAIRS.read(pair_file, PAIR_COLUMNS)
    reference = _read_logprobs(logprob_file, spec)
    if not reference["prompt_id"].equals(pairs["prompt_id"]):
        raise ArtifactError(f"{logprob_file}: these log-probabilities belong to other pairs than those of {pair_file}")
    for name in ("chosen_logprob", "rejected_logprob"):
        pairs = pairs.append_column(name, reference[name])
    return pairs


def _read_logprobs(path: Path, spec: TrainSpec) -> pa.Table:
    table = LOGPROBS.read(path)
    made_with = read_provenance(path)["spec"]
    for key, wanted in (("temperature", spec.temperature), ("precision", spec.precision)):
        if made_with[key] != wanted:
            raise ArtifactError(f"{path}: computed with {key} {made_with[key]}, but training is set to {wanted}")
    return table


@lru_cache(maxsize=1)  # every step asks for it: without a cache, an epoch would take quadratic time
def epoch_order(pairs: int, seed: int, epoch: int) -> torch.Tensor:
    """A permutation of the pairs that depends only on seed and epoch, int64 (pairs,)."""
    generator = torch.Generator().manual_seed((seed + 0x9E3779B9 * (epoch + 1)) % 2**63)
    return torch.randperm(pairs, generator=generator)


def micro_batches(pairs: Sequence[Pair], token_budget: int, process: int, processes: int) -> list[list[Pair]]:
    """The micro-batches of one process: each is a forward and a backward pass.

    Every process gets the same number of micro-batches, of similar size; some are empty if there are few pairs.
    """
    packs = balanced_packs([prompt_group(pair).tokens for pair in pairs], token_budget, processes)
    return [[pairs[index] for index in members] for members in packs[process::processes]]


def pair_batch(pairs: Sequence[Pair], chosen: torch.Tensor, rejected: torch.Tensor) -> PairBatch:
    """The policy's log-probabilities with the stored numbers of the pairs.

    Without a reference, the reference log-probabilities are NaN, so that a loss that reads them anyway is noticed.
    """
    # Each pair is accessed once: a table builds it anew every time.
    numbers = [
        [*(pair.get(name, math.nan) for name in STORED), len(pair["chosen_token_ids"]), len(pair["rejected_token_ids"])]
        for pair in pairs
    ]
    columns = (
        torch.tensor(numbers, dtype=torch.float32, device=chosen.device).reshape(-1, len(STORED) + 2).T.contiguous()
    )
    return PairBatch(chosen, rejected, *columns)
