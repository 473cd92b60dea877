"""Reading the training pairs with their reference log-probabilities, and batching them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import accumulate, chain
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import pyarrow as pa
import torch

from rlhf.base.artifacts import Artifact, ArtifactError, count_rows, read_provenance
from rlhf.logprobs.schema import logprob_artifact
from rlhf.pairs.paired_prompts import STARTS, PairedPrompt, PairedPrompts, with_starts
from rlhf.pairs.schema import (
    PAIR_COLUMNS,
    REFERENCE_COLUMNS,
    Pair,
    pair_artifact,
    read_pair_table,
    require_rewards,
)
from rlhf.tokens.packing import balanced_packs
from rlhf.tokens.prompt_group import PromptGroup
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
) -> PairedPrompts:
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
    return PairedPrompts(table)


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
        """The number of prompts with pairs."""
        return sum(map(_count_prompts, self.pairs))

    def tables(self) -> Iterator[pa.Table]:
        """The pairs of each file in turn, with `STARTS`; without rejected responses where the loss reads none."""
        if self.spec.loss.needs_reference:
            found = (_with_reference(*both, self.spec) for both in zip(self.pairs, self.logprobs, strict=True))
        else:
            found = (read_pair_table(path, PAIR_COLUMNS) for path in self.pairs)
        return map(with_starts, found if self.spec.loss.needs_rejected else map(without_rejected, found))

    def drawn(self, count: int) -> Iterator[pa.Table]:
        """As `tables`, with `count` of the prompts, those whose hashes are lowest; all if there are no more.

        The hash is of seed, policy, prompt and its responses: it depends on neither files, machines nor other prompts.
        Two passes over the files, so that no two tables are in memory together.
        """
        if count >= len(self):
            yield from self.tables()
            return
        hashes = [_prompt_hash(prompt, self.spec) for table in self.tables() for prompt in PairedPrompts(table)]
        lowest = sorted(range(len(hashes)), key=lambda number: (hashes[number], number))[:count]
        kept, start = np.zeros(len(hashes), dtype=bool), 0
        kept[lowest] = True
        for table in self.tables():
            numbers = table[STARTS].to_numpy().cumsum()
            yield table.filter(pa.array(kept[start + numbers - 1]))
            start += numbers[-1] if len(numbers) else 0


def _mixed(current: PairFiles, earlier: PairFiles, spec: TrainSpec) -> Iterator[pa.Table]:
    if spec.earlier_share is None:
        yield from chain(current.tables(), earlier.tables())
        return
    for files, count in zip(
        (current, earlier), mixed_counts(len(current), len(earlier), spec.earlier_share), strict=True
    ):
        yield from files.drawn(count)


def _count_prompts(path: Path) -> int:
    """The prompts of a file of pairs."""
    if pair_artifact(path).key == ("prompt_id",):
        return count_rows(path)
    return len(PairedPrompts(with_starts(read_pair_table(path, ["prompt_id"]))))


def _prompt_hash(prompt: PairedPrompt, spec: TrainSpec) -> bytes:
    responses = (np.asarray(ids, dtype="<i4").tobytes() for ids in prompt.prompt_group.responses)
    named = f"{spec.seed}\0{spec.policy}\0{prompt.prompt_id}".encode()
    return hashlib.sha256(b"\0".join([named, *responses])).digest()


def _with_reference(pair_file: Path, logprob_file: Path, spec: TrainSpec) -> pa.Table:
    artifact = pair_artifact(pair_file)
    pairs = read_pair_table(pair_file, [*PAIR_COLUMNS, *artifact.key[1:]])
    reference = _read_logprobs(logprob_file, logprob_artifact(artifact), spec)
    if not reference.select(artifact.key).equals(pairs.select(artifact.key)):
        raise ArtifactError(f"{logprob_file}: its log-probabilities are not those of the pairs in {pair_file}")
    pairs = pairs.select(PAIR_COLUMNS)
    for name in REFERENCE_COLUMNS:
        pairs = pairs.append_column(name, reference[name])
    return pairs


def without_rejected(pairs: pa.Table) -> pa.Table:
    """The pairs with empty rejected responses, which cost no computation."""
    place = pairs.schema.get_field_index("rejected_token_ids")
    empty = pa.array([[]] * len(pairs), pairs.schema.field(place).type)
    return pairs.set_column(place, pairs.schema.field(place), empty)


def _read_logprobs(path: Path, artifact: Artifact, spec: TrainSpec) -> pa.Table:
    table = artifact.read(path)
    made_with = read_provenance(path)["spec"]
    for key, wanted in (("temperature", spec.temperature), ("precision", spec.precision)):
        if made_with[key] != wanted:
            raise ArtifactError(f"{path}: computed with {key} {made_with[key]}, but training uses {wanted}")
    return table


@lru_cache(maxsize=1)  # called at every step; recomputing would make an epoch quadratic in its steps
def epoch_order(prompts: int, seed: int, epoch: int) -> torch.Tensor:
    """The order of the prompts in an epoch, a permutation that depends only on seed and epoch, int64 (prompts,)."""
    generator = torch.Generator().manual_seed((seed + 0x9E3779B9 * (epoch + 1)) % 2**63)
    return torch.randperm(prompts, generator=generator)


class Grouped(Protocol):
    """What is packed: a row, or a piece of one."""

    @property
    def prompt_group(self) -> PromptGroup: ...


AnyGrouped = TypeVar("AnyGrouped", bound=Grouped)


def micro_batches(
    rows: Sequence[AnyGrouped], token_budget: int, process: int, processes: int
) -> list[list[AnyGrouped]]:
    """The micro-batches of one process: rows for each forward and backward pass, within the token budget.

    All processes get the same number of micro-batches, of similar size; some may be empty if there are few rows.
    """
    packs = balanced_packs([row.prompt_group.tokens for row in rows], token_budget, processes)
    return [[rows[index] for index in members] for members in packs[process::processes]]


def pairs_of(prompts: Iterable[PairedPrompt]) -> list[Pair]:
    """The pairs of all prompts, one prompt after the other."""
    return [pair for prompt in prompts for pair in prompt.pairs]


def pair_places(prompts: Sequence[PairedPrompt]) -> list[tuple[int, int]]:
    """Of each pair, where its chosen and its rejected response are among the distinct responses of all prompts."""
    starts = accumulate((len(prompt.prompt_group.responses) for prompt in prompts), initial=0)
    placed = zip(prompts, starts, strict=False)
    return [(start + chosen, start + rejected) for prompt, start in placed for chosen, rejected in prompt.places]


def pair_weights(prompts: Sequence[PairedPrompt], spec: TrainSpec) -> list[float]:
    """What each pair counts in a mean over a batch: all prompts the same, or all pairs (`equal_weight`)."""
    if spec.recipe.equal_weight == "pairs":
        return [1.0 for prompt in prompts for _ in prompt.pairs]
    return [1 / len(prompt.pairs) for prompt in prompts for _ in prompt.pairs]


def pair_batch(pairs: Sequence[Pair], chosen: torch.Tensor, rejected: torch.Tensor) -> PairBatch:
    """A batch of pairs for the loss.

    Args:
        chosen, rejected: the policy's log-probabilities of the responses, float32 (pairs,); or what `ResponseLogprobs`
            returns with `expected`, (pairs, 2).
    """
    sides = (side.unbind(1) if side.dim() == 2 else [side] for side in (chosen, rejected))
    (chosen, *chosen_expected), (rejected, *rejected_expected) = sides
    stored = torch.tensor(list(map(_stored_numbers, pairs)), dtype=torch.float32, device=chosen.device)
    return PairBatch(
        chosen, rejected, *stored.reshape(-1, STORED_NUMBERS).T.contiguous(), *chosen_expected, *rejected_expected
    )


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
