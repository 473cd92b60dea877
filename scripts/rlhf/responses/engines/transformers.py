"""Sampling with transformers: batches of similar length, a random stream per draw, finished draws leave the batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
"""Share of finished draws at which the batch and its key-value cache are compacted."""


def start(job: SamplingJob) -> Engine:
    return TransformersEngine(job.model, job.revision, job.sampling, job.device, job.token_budget)


class TransformersEngine:
    """An `Engine` on one device. `token_budget` limits the tokens of prompts and responses in a batch."""

    def __init__(
        self, model: str, revision: str | None, sampling: SamplingSettings, device: torch.device, token_budget: int
    ) -> None:
        """Raises UserError if the model cannot be loaded, or has no stop token."""
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
        """Indices of requests of similar length that fit into the token budget; a batch has at least one request."""
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
    """All draws of a batch of requests, request by request."""
    streams = torch.stack([random_stream(seed, sampling.max_tokens) for r in batch for seed in r.seeds])
    streams, stops = streams.to(model.device), torch.tensor(stop_ids, device=model.device)
    sampled: list[list[int]] = [[] for _ in streams]
    state = prefill(model, batch)
    for step in range(sampling.max_tokens):
        tokens = sample_tokens(state.logits, streams[state.draw, step], sampling)
        for draw, token in zip(state.draw[state.active].tolist(), tokens[state.active].tolist(), strict=True):
            sampled[draw].append(token)
        state.active &= ~torch.isin(tokens, stops)
        if step + 1 == sampling.max_tokens or not state.active.any():
            break
        if (~state.active).float().mean() >= COMPACT_WHEN_FINISHED:
            tokens = state.drop_finished(tokens)
        state.append(model, tokens)
    return [Completion(ids, "stop" if ids[-1] in stop_ids else "length") for ids in sampled]


@dataclass
class BatchState:
    """The draws that are in the batch, one row each; a finished draw stays until `drop_finished`."""

    cache: DynamicCache
    logits: torch.Tensor
    """Of the next token, (rows, vocabulary)."""
    mask: torch.Tensor
    """Attention mask of the tokens so far, int64 (rows, tokens)."""
    position: torch.Tensor
    """Position of the next token, int64 (rows, 1)."""
    draw: torch.Tensor
    """Index of the row's draw among all draws of the batch, int64 (rows,)."""
    active: torch.Tensor
    """Whether the draw has no stop token yet, bool (rows,)."""

    def append(self, model: PreTrainedModel, tokens: torch.Tensor) -> None:
        """Append one token to each row, and compute the logits of the next one."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=-1)
        output = model(
            tokens[:, None], attention_mask=self.mask, position_ids=self.position, past_key_values=self.cache
        )
        self.logits = output.logits[:, -1]
        self.position = self.position + 1

    def drop_finished(self, tokens: torch.Tensor) -> torch.Tensor:
        """Remove the finished draws; returns the tokens of the others."""
        kept = self.active.nonzero().squeeze(-1)
        self.cache.batch_select_indices(kept)
        self.mask, self.position, self.draw = self.mask[kept], self.position[kept], self.draw[kept]
        self.active = self.active[kept]
        return tokens[kept]


def prefill(model: PreTrainedModel, batch: Sequence[Request]) -> BatchState:
    """Compute the prompts of a batch, each once: its key-value cache is repeated for its draws."""
    device = model.device
    ids, mask = pad_left([request.prompt_token_ids for request in batch], device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    logits = model(ids, attention_mask=mask, position_ids=positions, past_key_values=cache, logits_to_keep=1).logits
    draws = torch.tensor([len(request.seeds) for request in batch], device=device)
    of_request = torch.repeat_interleave(torch.arange(len(batch), device=device), draws)
    cache.batch_select_indices(of_request)
    draw = torch.arange(len(of_request), device=device)
    return BatchState(
        cache=cache,
        logits=logits[of_request, -1],
        mask=mask[of_request],
        position=positions[of_request, -1:] + 1,
        draw=draw,
        active=torch.ones_like(draw, dtype=torch.bool),
    )


def random_stream(seed: int, length: int) -> torch.Tensor:
    """Uniform random numbers of one draw, float64 (length,) in [0, 1), determined by its seed alone."""
    return torch.rand(length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pad_left(sequences: Sequence[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token IDs and attention mask, padded on the left, int64 (sequences, longest)."""
    length = max(len(sequence) for sequence in sequences)
    ids = torch.tensor([[0] * (length - len(sequence)) + sequence for sequence in sequences])
    mask = torch.tensor([[0] * (length - len(sequence)) + [1] * len(sequence) for sequence in sequences])
    return ids.to(device), mask.to(device)
