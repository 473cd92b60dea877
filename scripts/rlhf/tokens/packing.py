"""Packs: prompts with their responses in one row of tokens, without padding, each prompt only once.

    prompt A | response A1 | response A2 | prompt B | response B1

Positions continue from the prompt in each of its responses, and a response attends to its prompt and itself only (see
`packed_attention`): the results are those of the separate sequences `A A1`, `A A2`, `B B1`.
"""

from __future__ import annotations

import functools
import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rlhf.tokens.prompt_group import PromptGroup

CPU_PACK_TOKENS = 2048
"""Larger packs do not fit a CPU's caches, and are slower."""


@dataclass(frozen=True)
class Segment:
    """A prompt or a response: tokens `start` to `stop` of the pack. A response also attends to its prompt, `prefix`."""

    start: int
    stop: int
    prefix: range = range(0)

    @property
    def tokens(self) -> int:
        return self.stop - self.start


class FlashLayout(NamedTuple):
    """Queries and keys of all segments, concatenated."""

    seen: torch.Tensor
    """Index of every key in the pack, int64 (keys,): for each segment its prefix and itself."""
    query_starts: torch.Tensor
    """Where the queries of each segment begin, and where the last one ends, int32 (segments + 1,)."""
    key_starts: torch.Tensor
    """The same for the keys."""
    longest_query: int
    longest_key: int


class ResponseTokens(NamedTuple):
    """Indices for each token of the responses, int64 (response tokens,)."""

    predictors: torch.Tensor
    """The token before it; for a response's first token that is the prompt's last."""
    targets: torch.Tensor
    """The token itself."""
    of_response: torch.Tensor
    """The response that it belongs to."""


class Pack:
    """The tokens of some groups in a row, and where each prompt and response is.

    Attributes:
        input_ids: int64 (1, tokens).
        position_ids: int64 (1, tokens).
        segments: in the order of the tokens; none is empty.
        responses: the segments of the responses, group by group; empty ones too.
    """

    def __init__(self, groups: Sequence[PromptGroup], device: torch.device) -> None:
        ids: list[NDArray[np.int64]] = []
        positions: list[NDArray[np.int64]] = []
        segments: list[Segment] = []
        end = 0
        for group in groups:
            prompt = Segment(end, end + len(group.prompt))
            prefix, start = range(0), 0
            for part in (group.prompt, *group.responses):
                segments.append(Segment(end, end + len(part), prefix))
                ids.append(np.asarray(part, np.int64))
                positions.append(np.arange(start, start + len(part)))
                end += len(part)
                prefix, start = range(prompt.start, prompt.stop), prompt.tokens
        self._ids = np.concatenate(ids)
        self.segments = [segment for segment in segments if segment.tokens]
        self.responses = [segment for segment in segments if segment.prefix]
        self.input_ids = torch.tensor(self._ids[None], device=device)
        self.position_ids = torch.tensor(np.concatenate(positions)[None], device=device)

    @functools.cached_property
    def flash_layout(self) -> FlashLayout:
        """The segments in the format of variable-length attention."""
        device = self.input_ids.device
        tokens = [segment.tokens for segment in self.segments]
        lengths = [len(segment.prefix) + segment.tokens for segment in self.segments]
        seen = [part for one in self.segments for part in (one.prefix, range(one.start, one.stop))]
        return FlashLayout(
            seen=torch.cat([torch.arange(part.start, part.stop) for part in seen]).to(device),
            query_starts=torch.tensor([0, *accumulate(tokens)], dtype=torch.int32, device=device),
            key_starts=torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device),
            longest_query=max(tokens),
            longest_key=max(lengths),
        )

    def response_tokens(self) -> ResponseTokens:
        """Indices for all tokens of the responses, one response after the other."""
        predictors: list[int] = []
        targets: list[int] = []
        for segment in self.responses:
            predictors += [segment.prefix.stop - 1, *range(segment.start, segment.stop)][: segment.tokens]
            targets += range(segment.start, segment.stop)
        of_response = [index for index, segment in enumerate(self.responses) for _ in range(segment.tokens)]
        return ResponseTokens(self._index(predictors), self._index(targets), self._index(of_response))

    def sequences(self) -> Iterator[tuple[list[int], list[int]]]:
        """For each response, the token ids of its prompt and its own."""
        for response in self.responses:
            prefix = response.prefix
            prompt, own = self._ids[prefix.start : prefix.stop], self._ids[response.start : response.stop]
            yield prompt.tolist(), own.tolist()

    def last_tokens(self, padding: int | None = None) -> torch.Tensor:
        """Index of the last token of each response, int64 (responses,).

        Args:
            padding: skip this token at the end, and on into the prompt; if all tokens are this, the prompt's first.
        """
        return self._index([self._last_token(response, padding) for response in self.responses])

    def _last_token(self, response: Segment, padding: int | None) -> int:
        backwards = chain(reversed(range(response.start, response.stop)), reversed(response.prefix))
        return next((index for index in backwards if self._ids[index] != padding), response.prefix.start)

    def prompt_ends(self) -> torch.Tensor:
        """Index after the last token of each response's prompt, int64 (responses,)."""
        return self._index([segment.prefix.stop for segment in self.responses])

    def _index(self, values: list[int]) -> torch.Tensor:
        return torch.tensor(values, device=self.input_ids.device)


def pack_budget(token_budget: int, device: torch.device) -> int:
    """Largest number of tokens of a pack on a device."""
    return min(token_budget, CPU_PACK_TOKENS) if device.type == "cpu" else token_budget


def pack_groups(groups: Sequence[PromptGroup], token_budget: int) -> Iterator[list[tuple[int, list[int]]]]:
    """Which prompts and responses go into each pack: (index of the group, indices of its responses).

    Groups of similar size go together, the largest first, so that a lack of memory shows at once. A pack has at most
    `token_budget` tokens; a larger group is split over several packs with its prompt in each, and a single response
    with its prompt is a pack even if it is larger.
    """
    pack: list[tuple[int, list[int]]] = []
    tokens = 0
    for group, responses in _pieces(groups, token_budget):
        size = len(groups[group].prompt) + sum(len(groups[group].responses[index]) for index in responses)
        if pack and tokens + size > token_budget:
            yield pack
            pack, tokens = [], 0
        pack.append((group, responses))
        tokens += size
    if pack:
        yield pack


def balanced_packs(tokens: Sequence[int], token_budget: int, processes: int = 1) -> list[list[int]]:
    """Distribute whole groups over packs of similar size: the same number for each process, within `token_budget`.

    A single group that is larger is a pack of its own; packs are empty if there are too few groups.

    Args:
        tokens: number of tokens of each group.

    Returns:
        Indices of the groups of each pack; the number of packs is a multiple of `processes`.
    """
    one_group_each = math.ceil(len(tokens) / processes)
    count = processes * max(1, min(math.ceil(sum(tokens) / (token_budget * processes)), one_group_each))
    while True:
        packs: list[list[int]] = [[] for _ in range(count)]
        smallest = [(0, pack) for pack in range(count)]
        for group in _by_size(tokens):
            size, pack = smallest[0]
            packs[pack].append(group)
            heapq.heapreplace(smallest, (size + tokens[group], pack))
        if all(size <= token_budget or len(packs[pack]) == 1 for size, pack in smallest):
            return packs
        count += processes


def pieces_of(group: PromptGroup, token_budget: int) -> list[PromptGroup]:
    """The group, or its prompt with some of the responses each, in their order, if it does not fit a pack.

    Two responses are always together.
    """
    if len(group.responses) <= 2 or group.tokens <= token_budget:
        return [group]
    pieces = _split(group, token_budget)
    return [PromptGroup(group.prompt, [group.responses[index] for index in piece]) for piece in pieces]


def smallest_packs(group: PromptGroup) -> list[int]:
    """Tokens of the smallest pieces that a group can be in."""
    return [piece.tokens for piece in pieces_of(group, token_budget=0)]


def _pieces(groups: Sequence[PromptGroup], token_budget: int) -> Iterator[tuple[int, list[int]]]:
    """Groups by size, split where they do not fit the budget."""
    for group in _by_size([group.tokens for group in groups]):
        for piece in _split(groups[group], token_budget):
            yield group, piece


def _split(group: PromptGroup, token_budget: int) -> Iterator[list[int]]:
    """Indices of the responses that are in a piece together: as many as fit, or a single one."""
    piece: list[int] = []
    tokens = len(group.prompt)
    for index, response in enumerate(group.responses):
        if piece and tokens + len(response) > token_budget:
            yield piece
            piece, tokens = [], len(group.prompt)
        piece.append(index)
        tokens += len(response)
    if piece:
        yield piece


def _by_size(tokens: Sequence[int]) -> list[int]:
    """Indices of the groups, the largest first."""
    return sorted(range(len(tokens)), key=lambda index: (-tokens[index], index))
