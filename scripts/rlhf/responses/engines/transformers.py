"""Sampling with transformers: batched by length, a random stream per draw, finished rows leave the batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache

from rlhf.machine.progress import Progress
from rlhf.models.policies import load_generation_config, load_policy
from rlhf.models.tokenizers import load_tokenizer
from rlhf.responses.engine import Completion, Engine, Request, SamplingJob, stop_token_ids
from rlhf.responses.sampling import sample_tokens
from rlhf.responses.settings import SamplingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

COMPACT_WHEN_FINISHED = 0.125
"""Share of finished rows at which the key-value cache is copied without them."""


def start(job: SamplingJob) -> Engine:
    return TransformersEngine(job.model, job.revision, job.sampling, job.device, job.token_budget)


class TransformersEngine:
    """An `Engine` on one device. `token_budget` bounds prompts plus responses of a batch, in tokens."""

    def __init__(
        self, model: str, revision: str | None, sampling: SamplingSettings, device: torch.device, token_budget: int
    ) -> None:
        """Raises UserError where there is no such model, or it names no stop token."""
        configuration = load_generation_config(model, revision)
        self.stop_ids = stop_token_ids(configuration, load_tokenizer(model, revision), sampling.stop_tokens)
        self.model = load_policy(model, revision, sampling.precision, device)
        self.sampling = sampling
        self.token_budget = token_budget

    @torch.inference_mode()
    def sample(self, requests: Sequence[Request], progress: Progress) -> list[list[Completion]]:
        """See `Engine.sample`."""
        completions: list[list[Completion]] = [[] for _ in requests]
        for indices in self._batches(requests, self.sampling.max_tokens):
            batch = [requests[index] for index in indices]
            sampled = sample_batch(self.model, batch, self.sampling, self.stop_ids)
            rows = iter(sampled)
            for index, request in zip(indices, batch, strict=True):
                completions[index] = [next(rows) for _ in request.seeds]
            progress.advance(len(sampled), tokens=sum(len(completion.token_ids) for completion in sampled))
        return completions

    def _batches(self, requests: Sequence[Request], max_tokens: int) -> Iterator[list[int]]:
        """Indices of requests of similar length that fit the token budget together (a single one always does)."""
        order = sorted(range(len(requests)), key=lambda i: (len(requests[i].prompt_token_ids), requests[i].prompt_id))
        batch: list[int] = []
        rows = 0
        for index in order:
            request = requests[index]
            rows += len(request.seeds)
            if batch and rows * (len(request.prompt_token_ids) + max_tokens) > self.token_budget:
                yield batch
                batch, rows = [], len(request.seeds)
            batch.append(index)
        if batch:
            yield batch


def sample_batch(
    model: PreTrainedModel, batch: Sequence[Request], sampling: SamplingSettings, stop_ids: Sequence[int]
) -> list[Completion]:
    """All draws of a batch of requests, draw by draw within a request.

    The prompt of a request is computed once; its key-value cache is repeated for the draws.
    """
    device = model.device
    draws = torch.tensor([len(request.seeds) for request in batch], device=device)
    streams = torch.stack([random_stream(seed, sampling.max_tokens) for r in batch for seed in r.seeds]).to(device)
    ids, mask = pad_left([request.prompt_token_ids for request in batch], device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    logits = model(ids, attention_mask=mask, position_ids=positions, past_key_values=cache, logits_to_keep=1).logits
    of_request = torch.repeat_interleave(torch.arange(len(batch), device=device), draws)
    cache.batch_select_indices(of_request)
    logits, mask, position = logits[of_request, -1], mask[of_request], positions[of_request, -1:] + 1

    stops = torch.tensor(stop_ids, device=device)
    sampled: list[list[int]] = [[] for _ in streams]
    row_of = torch.arange(len(streams), device=device)
    active = torch.ones_like(row_of, dtype=torch.bool)
    for step in range(sampling.max_tokens):
        tokens = sample_tokens(logits, streams[row_of, step], sampling)
        for row, token in zip(row_of[active].tolist(), tokens[active].tolist(), strict=True):
            sampled[row].append(token)
        active &= ~torch.isin(tokens, stops)
        if step + 1 == sampling.max_tokens or not active.any():
            break
        if (~active).float().mean() >= COMPACT_WHEN_FINISHED:
            keep = active.nonzero().squeeze(-1)
            cache.batch_select_indices(keep)
            tokens, mask, position, row_of, active = (x[keep] for x in (tokens, mask, position, row_of, active))
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=-1)
        logits = model(tokens[:, None], attention_mask=mask, position_ids=position, past_key_values=cache).logits[:, -1]
        position = position + 1
    return [Completion(ids, "stop" if ids[-1] in stop_ids else "length") for ids in sampled]


def random_stream(seed: int, length: int) -> torch.Tensor:
    """The uniform numbers of one draw, float64 of shape (length,) in [0, 1): they depend on its seed alone."""
    return torch.rand(length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pad_left(sequences: Sequence[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, int64 of shape (sequences, longest)."""
    length = max(len(sequence) for sequence in sequences)
    ids = torch.tensor([[0] * (length - len(sequence)) + sequence for sequence in sequences])
    mask = torch.tensor([[0] * (length - len(sequence)) + [1] * len(sequence) for sequence in sequences])
    return ids.to(device), mask.to(device)
