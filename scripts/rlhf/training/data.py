"""Reading the training pairs with their reference log-probabilities, and batching them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from rlhf.base.artifacts import ArtifactError, count_rows, read_provenance
from rlhf.logprobs.schema import LOGPROBS
from rlhf.pairs.schema import PAIR_COLUMNS, REFERENCE_COLUMNS, Pair, PairTable, read_pair_table, require_rewards
from rlhf.tokens.packing import balanced_packs
from rlhf.training.loss import PairBatch
from rlhf.training.settings import TrainSpec, mixed_counts

STORED_NUMBERS = 8
"""Length of `_stored_numbers`."""


def read_pairs(
    pair_files: Sequence[Path],
    logprob_files: Sequence[Path],
    spec: TrainSpec,
    share: Callable[[Callable[[], Iterator[pa.Table]]], pa.Table] = lambda read: pa.concat_tables(read()),
    *,
    earlier: tuple[Sequence[Path], Sequence[Path]] = ((), ()),
) -> PairTable:
    """Read the pairs of all files, in order, with their reference log-probabilities if the loss needs them.

    Args:
        share: reads the tables with the function that it gets and returns them as one; for example once per machine.
        earlier: pairs of earlier iterations, and their log-probabilities; they follow the others, in the shares that
            `spec.earlier_share` says.

    Raises:
        ArtifactError: log-probabilities are missing, or are of other pairs, another temperature or another precision.
    """
    current = PairFiles(pair_files, logprob_files, spec)
    table = share(partial(_mixed, current, PairFiles(*earlier, spec), spec))
    if spec.loss.needs_rewards:
        require_rewards(table, spec.loss.name)
    return PairTable(table)


class PairFiles:
    """Files of pairs, and of their log-probabilities if the loss needs them; they can be read more than once.

    Raises:
        ArtifactError: there are not as many files of log-probabilities as the loss needs.
    """

    def __init__(self, pairs: Sequence[Path], logprobs: Sequence[Path], spec: TrainSpec) -> None:
        if spec.loss.needs_reference and len(logprobs) != len(pairs):
            raise ArtifactError(
                f"{spec.loss.name} needs reference log-probabilities: {len(pairs)} file(s) of pairs need as many of "
                f"log-probabilities, but {len(logprobs)} were given"
            )
        self.pairs, self.logprobs, self.spec = pairs, logprobs, spec

    def __len__(self) -> int:
        """The number of pairs."""
        return sum(map(count_rows, self.pairs))

    def tables(self) -> Iterator[pa.Table]:
        """The pairs of each file in turn."""
        if not self.spec.loss.needs_reference:
            return (read_pair_table(path, PAIR_COLUMNS) for path in self.pairs)
        return (_with_reference(*both, self.spec) for both in zip(self.pairs, self.logprobs, strict=True))

    def drawn(self, count: int) -> Iterator[pa.Table]:
        """As `tables`, with `count` of the pairs, those whose hashes are lowest; all if there are no more.

        The hash is of seed, policy, prompt and the two responses: it depends on neither files, machines nor other
        pairs. Two passes over the files, so that no two tables are in memory together.
        """
        if count >= len(self):
            yield from self.tables()
            return
        hashes = [_pair_hash(pair, self.spec) for table in self.tables() for pair in PairTable(table)]
        lowest = sorted(range(len(hashes)), key=lambda row: (hashes[row], row))[:count]
        kept, start = np.zeros(len(hashes), dtype=bool), 0
        kept[lowest] = True
        for table in self.tables():
            yield table.filter(pa.array(kept[start : start + len(table)]))
            start += len(table)


def _mixed(current: PairFiles, earlier: PairFiles, spec: TrainSpec) -> Iterator[pa.Table]:
    if spec.earlier_share is None:
        yield from chain(current.tables(), earlier.tables())
        return
    for files, count in zip(
        (current, earlier), mixed_counts(len(current), len(earlier), spec.earlier_share), strict=True
    ):
        yield from files.drawn(count)


def _pair_hash(pair: Pair, spec: TrainSpec) -> bytes:
    responses = (np.asarray(ids, dtype="<i4").tobytes() for ids in (pair.chosen_token_ids, pair.rejected_token_ids))
    return hashlib.sha256(b"\0".join([f"{spec.seed}\0{spec.policy}\0{pair.prompt_id}".encode(), *responses])).digest()


def _with_reference(pair_file: Path, logprob_file: Path, spec: TrainSpec) -> pa.Table:
    pairs = read_pair_table(pair_file, PAIR_COLUMNS)
    reference = _read_logprobs(logprob_file, spec)
    if not reference["prompt_id"].equals(pairs["prompt_id"]):
        raise ArtifactError(f"{logprob_file}: its log-probabilities are not those of the pairs in {pair_file}")
    for name in REFERENCE_COLUMNS:
        pairs = pairs.append_column(name, reference[name])
    return pairs


def _read_logprobs(path: Path, spec: TrainSpec) -> pa.Table:
    table = LOGPROBS.read(path)
    made_with = read_provenance(path)["spec"]
    for key, wanted in (("temperature", spec.temperature), ("precision", spec.precision)):
        if made_with[key] != wanted:
            raise ArtifactError(f"{path}: computed with {key} {made_with[key]}, but training uses {wanted}")
    return table


@lru_cache(maxsize=1)  # called at every step; recomputing would make an epoch quadratic in its steps
def epoch_order(pairs: int, seed: int, epoch: int) -> torch.Tensor:
    """The order of the pairs in an epoch, a permutation that depends only on seed and epoch, int64 (pairs,)."""
    generator = torch.Generator().manual_seed((seed + 0x9E3779B9 * (epoch + 1)) % 2**63)
    return torch.randperm(pairs, generator=generator)


def micro_batches(pairs: Sequence[Pair], token_budget: int, process: int, processes: int) -> list[list[Pair]]:
    """The micro-batches of one process: pairs for each forward and backward pass, within the token budget.

    All processes get the same number of micro-batches, of similar size; some may be empty if there are few pairs.
    """
    packs = balanced_packs([pair.prompt_group.tokens for pair in pairs], token_budget, processes)
    return [[pairs[index] for index in members] for members in packs[process::processes]]


def pair_batch(pairs: Sequence[Pair], chosen: torch.Tensor, rejected: torch.Tensor) -> PairBatch:
    """A batch of pairs for the loss.

    Args:
        chosen, rejected: the policy's log-probabilities of the responses, float32 (pairs,).
    """
    stored = torch.tensor(list(map(_stored_numbers, pairs)), dtype=torch.float32, device=chosen.device)
    return PairBatch(chosen, rejected, *stored.reshape(-1, STORED_NUMBERS).T.contiguous())


def _stored_numbers(pair: Pair) -> tuple[float, ...]:
    """What losses read of a pair, in the order of the fields of `PairBatch`."""
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
