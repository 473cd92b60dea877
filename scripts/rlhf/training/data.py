"""The pairs that a policy is trained on, with their reference log-probabilities, and batches of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import torch

from rlhf.base.artifacts import ArtifactError, read_provenance
from rlhf.logprobs.schema import LOGPROBS
from rlhf.pairs.schema import PAIR_COLUMNS, PAIRS, REFERENCE_COLUMNS, Pair, PairTable
from rlhf.tokens.packing import balanced_packs
from rlhf.training.loss import PairBatch
from rlhf.training.settings import TrainSpec

STORED_NUMBERS = 8
"""Of a pair, see `_stored_numbers`."""


def read_pairs(
    pair_files: Sequence[Path],
    logprob_files: Sequence[Path],
    spec: TrainSpec,
    share: Callable[[Callable[[], Iterator[pa.Table]]], pa.Table] = lambda read: pa.concat_tables(read()),
) -> PairTable:
    """The pairs of all files in order, each with its reference log-probabilities where the loss needs them.

    Args:
        share: makes one table of what it lets be read, for several processes of one machine for example.

    Raises:
        ArtifactError: log-probabilities are missing, are of other pairs, or of another temperature or precision.
    """
    if spec.loss.needs_reference and len(logprob_files) != len(pair_files):
        raise ArtifactError(
            f"{len(pair_files)} file(s) of pairs need as many of log-probabilities; {spec.loss.name} has a reference, "
            f"and {len(logprob_files)} were given"
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
        raise ArtifactError(f"{logprob_file}: its log-probabilities are of other pairs than those of {pair_file}")
    for name in REFERENCE_COLUMNS:
        pairs = pairs.append_column(name, reference[name])
    return pairs


def _read_logprobs(path: Path, spec: TrainSpec) -> pa.Table:
    table = LOGPROBS.read(path)
    made_with = read_provenance(path)["spec"]
    for key, wanted in (("temperature", spec.temperature), ("precision", spec.precision)):
        if made_with[key] != wanted:
            raise ArtifactError(f"{path}: computed with {key} {made_with[key]}, and training is set to {wanted}")
    return table


@lru_cache(maxsize=1)  # every step asks for it: without, the steps of an epoch would take its square
def epoch_order(pairs: int, seed: int, epoch: int) -> torch.Tensor:
    """A permutation of the pairs that depends on seed and epoch alone, int64 (pairs,)."""
    generator = torch.Generator().manual_seed((seed + 0x9E3779B9 * (epoch + 1)) % 2**63)
    return torch.randperm(pairs, generator=generator)


def micro_batches(pairs: Sequence[Pair], token_budget: int, process: int, processes: int) -> list[list[Pair]]:
    """What one of several processes computes of a batch, a list for each forward and backward pass.

    Every process gets as many lists, of similar size; some may be empty where there are few pairs.
    """
    packs = balanced_packs([pair.prompt_group.tokens for pair in pairs], token_budget, processes)
    return [[pairs[index] for index in members] for members in packs[process::processes]]


def pair_batch(pairs: Sequence[Pair], chosen: torch.Tensor, rejected: torch.Tensor) -> PairBatch:
    """The policy's log-probabilities of some pairs, float32 (pairs,) each, beside what is stored with the pairs."""
    stored = torch.tensor(list(map(_stored_numbers, pairs)), dtype=torch.float32, device=chosen.device)
    return PairBatch(chosen, rejected, *stored.reshape(-1, STORED_NUMBERS).T.contiguous())


def _stored_numbers(pair: Pair) -> tuple[float, ...]:
    """What losses read of a pair, in the order of `PairBatch`."""
    return (
        pair.chosen_logprob,
        pair.rejected_logprob,
        pair.chosen_reward,
        pair.rejected_reward,
        pair.chosen_win_probability,
        pair.rejected_win_probability,
        len(pair.chosen_token_ids),
        len(pair.rejected_token_ids),
    )
