"""The pairs that a policy is trained on, with their reference log-probabilities, and batches of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from rlhf.artifacts import ArtifactError, read_provenance
from rlhf.logprobs import LOGPROBS
from rlhf.losses import PairBatch
from rlhf.packing import balanced_packs
from rlhf.pair_logprobs import prompt_group
from rlhf.pairs import PAIRS
from rlhf.training import TrainSpec

Pair = Mapping[str, Any]
"""A row of `PAIRS` and, where the loss has a reference, of `LOGPROBS`."""


def read_pairs(pair_files: Sequence[Path], logprob_files: Sequence[Path], spec: TrainSpec) -> list[Pair]:
    """The pairs of all files in order, each with its reference log-probabilities where the loss needs them.

    Raises:
        ArtifactError: log-probabilities are missing, are of other pairs, or of another temperature or precision.
    """
    if not spec.loss.needs_reference:
        return [row for path in pair_files for row in PAIRS.read(path).to_pylist()]
    if len(logprob_files) != len(pair_files):
        raise ArtifactError(
            f"{len(pair_files)} file(s) of pairs need as many of log-probabilities; {spec.loss.name} has a reference, "
            f"and {len(logprob_files)} were given"
        )
    return [
        pair
        for pair_file, logprob_file in zip(pair_files, logprob_files, strict=True)
        for pair in _with_reference(pair_file, logprob_file, spec)
    ]


def _with_reference(pair_file: Path, logprob_file: Path, spec: TrainSpec) -> list[Pair]:
    pairs = PAIRS.read(pair_file).to_pylist()
    reference = _read_logprobs(logprob_file, spec)
    if [row["prompt_id"] for row in reference] != [pair["prompt_id"] for pair in pairs]:
        raise ArtifactError(f"{logprob_file}: its log-probabilities are of other pairs than those of {pair_file}")
    return [{**pair, **row} for pair, row in zip(pairs, reference, strict=True)]


def _read_logprobs(path: Path, spec: TrainSpec) -> list[dict[str, Any]]:
    rows = LOGPROBS.read(path).to_pylist()
    made_with = read_provenance(path)["spec"]
    for key, wanted in (("temperature", spec.temperature), ("precision", spec.precision)):
        if made_with[key] != wanted:
            raise ArtifactError(f"{path}: computed with {key} {made_with[key]}, and training is set to {wanted}")
    return rows


def epoch_order(pairs: int, seed: int, epoch: int) -> list[int]:
    """A permutation of the pairs that depends on seed and epoch alone."""
    generator = torch.Generator().manual_seed((seed + 0x9E3779B9 * (epoch + 1)) % 2**63)
    return torch.randperm(pairs, generator=generator).tolist()


def micro_batches(pairs: Sequence[Pair], token_budget: int, process: int, processes: int) -> list[list[Pair]]:
    """What one of several processes computes of a batch, a list for each forward and backward pass.

    Every process gets as many lists, of similar size; some may be empty where there are few pairs.
    """
    packs = balanced_packs([prompt_group(pair) for pair in pairs], token_budget, processes)
    return [[pairs[index] for index in members] for members in packs[process::processes]]


def pair_batch(pairs: Sequence[Pair], chosen: torch.Tensor, rejected: torch.Tensor) -> PairBatch:
    """The policy's log-probabilities beside what is stored of the pairs.

    Without a reference its log-probabilities are NaN: a loss that reads them nevertheless does not stay unnoticed.
    """

    def column(name: str) -> torch.Tensor:
        return torch.tensor([pair.get(name, float("nan")) for pair in pairs], dtype=torch.float32, device=chosen.device)

    return PairBatch(
        chosen_logprob=chosen,
        rejected_logprob=rejected,
        reference_chosen_logprob=column("chosen_logprob"),
        reference_rejected_logprob=column("rejected_logprob"),
        chosen_reward=column("chosen_reward"),
        rejected_reward=column("rejected_reward"),
        chosen_win_probability=column("chosen_win_probability"),
        rejected_win_probability=column("rejected_win_probability"),
        chosen_tokens=torch.tensor([float(len(pair["chosen_token_ids"])) for pair in pairs], device=chosen.device),
        rejected_tokens=torch.tensor([float(len(pair["rejected_token_ids"])) for pair in pairs], device=chosen.device),
    )
