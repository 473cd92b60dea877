"""Finds prompts that are questions of a benchmark: word for word, or with a few words changed.

A prompt matches a question in one of three ways. Words are runs of letters and digits, in NFKC and case-folded.

- They share n consecutive words, by default 13 (Brown et al. 2020, arXiv:2005.14165, appendix C).
- The prompt contains the whole of a question with fewer words. A question of fewer than 8 words, the lower bound for n
  there, only matches a prompt that consists of it.
- They are similar: the Jaccard similarity of their sets of 5 consecutive characters is at least a threshold.

MinHash (Broder 1997) finds the pairs whose similarity is worth computing, and decides nothing else: of those at the
threshold it misses one in 10,000, of those above it fewer.

Characters and threshold were measured on the 805 questions of AlpacaEval 2. With random words of the others in place of
some of their own, these are found at 0.45:

| words of the question | up to 4 | 5 to 7 | 8 to 12 | 13 to 20 | more  | all  |
| --------------------- | ------- | ------ | ------- | -------- | ----- | ---- |
| 1 word replaced       | 34 %    | 94 %   | 100 %   | 100 %    | 100 % | 99 % |
| 2 words replaced      | 0 %     | 20 %   | 86 %    | 100 %    | 100 % | 88 % |
| 3 words replaced      | 0 %     | 2 %    | 34 %    | 94 %     | 100 % | 74 % |

No two of the questions are similar at 0.45 unless they share 13 words: the highest of 323,460 pairs is 0.41. (25
questions share 13 words with another, as they are made from two templates.) With sets of words, of words and pairs of
words, or of 3 characters, a threshold as far above all different pairs finds fewer in all; with 4, 6 and 7 characters
about as many.

A short question with a word replaced may be another question: "Write a poem about the sea", or about love, has 0.55. A
threshold of 0.6 keeps more of those, and finds 58 % instead of 94 %, and 31 % instead of 86 %.

60,000 prompts of 130 words against 1,465 questions take 100 seconds of one core, and 115 MB for the questions; what is
kept of the prompts are the matches.
"""

from __future__ import annotations

import math
import re
import sys
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from datasketch import MinHash, MinHashLSH

from rlhf.prompts.benchmarks import Questions, read_questions
from rlhf.prompts.schema import CONTAMINATION
from rlhf.prompts.settings import Benchmark

CHARACTERS = 5
SHORTEST = 8
"""Words of a question that is looked for inside of prompts."""
WITHOUT_SPACES = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Chinese and Japanese characters: each is a word."""
WORD = re.compile(rf"[{WITHOUT_SPACES}]|[^\W_{WITHOUT_SPACES}]+")
WHOLE, SIMILAR = "whole question", "similar"
"""Reasons of a match, beside `13-gram`."""
MISSED = 1e-4
"""Share of the pairs with a similarity of exactly the threshold that the hashing may miss; above it, far fewer."""
MOST_PERMUTATIONS, SEED = 384, 1


def words_of(text: str) -> tuple[str, ...]:
    """The words that are compared: letters and digits, NFKC, case-folded."""
    return tuple(WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def shingles_of(words: Sequence[str]) -> frozenset[str]:
    """The set of consecutive characters whose Jaccard similarity counts."""
    text = spaced(words)
    return frozenset(text[start : start + CHARACTERS] for start in range(max(1, len(text) - CHARACTERS + 1)))


def spaced(words: Sequence[str]) -> str:
    """The words as one text, in which whole words can be looked for."""
    return f" {' '.join(words)} "


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Size of the intersection divided by that of the union."""
    common = len(first & second)
    return common / (len(first) + len(second) - common)


def bands_and_rows(threshold: float) -> tuple[int, int]:
    """Bands and rows of the locality-sensitive hashing: as many rows as there can be, which leaves fewest candidates.

    A pair of similarity s is a candidate with probability 1 - (1 - s^rows)^bands.
    """
    found = [
        (bands, rows)
        for rows in range(1, 33)
        if (bands := math.ceil(math.log(MISSED) / math.log1p(-(min(threshold, 0.99) ** rows)))) * rows
        <= MOST_PERMUTATIONS
    ]
    return found[-1]


@dataclass(frozen=True)
class Match:
    """A question that a prompt matches."""

    benchmark: str
    question: str
    reason: str
    """`13-gram`, `whole question` or `similar`."""
    similarity: float
    """Jaccard similarity of the sets of characters."""


@dataclass(frozen=True)
class _Question:
    benchmark: Benchmark
    text: str
    words: tuple[str, ...]
    shingles: frozenset[str] = field(repr=False)

    def needles(self) -> Iterator[tuple[str, ...]]:
        """The word sequences that no prompt may contain."""
        if len(self.words) >= SHORTEST:
            length = min(len(self.words), self.benchmark.ngram)
            for start in range(len(self.words) - length + 1):
                yield self.words[start : start + length]


def open_benchmarks(benchmarks: Sequence[Benchmark], revisions: Path | None) -> Contamination:
    """Read the questions of benchmarks.

    Raises:
        UserError: see `read_questions`.
    """
    return Contamination([read_questions(benchmark, revisions) for benchmark in benchmarks])


class Contamination:
    """The questions of benchmarks, and the prompts that were found to match them."""

    def __init__(self, benchmarks: Sequence[Questions]) -> None:
        # Interned, because questions have most of their shingles in common.
        self._questions = [
            _Question(found.settings, text, words, frozenset(map(sys.intern, shingles_of(words))))
            for found in benchmarks
            for text in sorted(set(found.texts))
            if (words := words_of(text))
        ]
        self.revisions = {found.settings.name: found.revision for found in benchmarks}
        """Name of each benchmark -> commit of its hub dataset, or None for a local file."""
        self._counts = {found.settings.name: {"questions": len(found.texts), "prompts": 0} for found in benchmarks}
        self._rows: list[dict[str, object]] = []
        self._whole: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._needles: dict[tuple[str, ...], list[int]] = defaultdict(list)
        lengths: dict[str, set[int]] = defaultdict(set)
        for index, question in enumerate(self._questions):
            self._whole[question.words].append(index)
            for needle in question.needles():
                self._needles[needle].append(index)
                lengths[needle[0]].add(len(needle))
        self._lengths = {word: sorted(found) for word, found in lengths.items()}
        self._similar = _Similar(self._questions)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Of each benchmark its questions, and the prompts that match one."""
        return self._counts

    @property
    def table(self) -> pa.Table:
        """The matches as rows of `CONTAMINATION`, in the order of their keys."""
        rows = pa.Table.from_pylist(self._rows, schema=CONTAMINATION.schema)
        return rows.sort_by([(name, "ascending") for name in CONTAMINATION.key])

    def holds(self, identity: str, prompt: str) -> bool:
        """Whether a prompt matches a question; keeps the matches."""
        matches = self.matches(prompt)
        for match in matches:
            self._counts[match.benchmark]["prompts"] += 1
            self._rows.append({"prompt_id": identity, "prompt": prompt, **vars(match)})
        return bool(matches)

    def matches(self, prompt: str) -> list[Match]:
        """The most similar of the questions that a prompt matches, of each benchmark with one."""
        words = words_of(prompt)
        if not words:
            return []
        shared = {*self._whole.get(words, ()), *self._shared(words)}
        shingles = shingles_of(words)
        best: dict[str, Match] = {}
        for index in shared.union(self._similar.candidates(shingles)):
            question = self._questions[index]
            similarity = jaccard(shingles, question.shingles)
            if index in shared or similarity >= question.benchmark.similarity:
                reason = _reason(question, words) if index in shared else SIMILAR
                match = Match(question.benchmark.name, question.text, reason, similarity)
                best[match.benchmark] = min(best.get(match.benchmark, match), match, key=_rank)
        return list(best.values())

    def _shared(self, words: tuple[str, ...]) -> Iterator[int]:
        """The questions of which the words contain what none may contain."""
        for start, word in enumerate(words):
            for length in self._lengths.get(word, ()):
                yield from self._needles.get(words[start : start + length], ())


class _Similar:
    """The questions whose similarity to a text may be large enough."""

    def __init__(self, questions: Sequence[_Question]) -> None:
        self._threshold = min((question.benchmark.similarity for question in questions), default=1.0)
        self._sizes = [len(question.shingles) for question in questions]
        bands, rows = bands_and_rows(self._threshold)
        # zlib's checksum is the same everywhere, unlike Python's own hash, and fast.
        self._empty = MinHash(num_perm=bands * rows, seed=SEED, hashfunc=zlib.crc32)
        self._index = MinHashLSH(num_perm=bands * rows, params=(bands, rows))
        for index, question in enumerate(questions):
            self._index.insert(index, self._minhash(question.shingles), check_duplication=False)

    def candidates(self, shingles: frozenset[str]) -> list[int]:
        """Indices of questions: of those at the threshold all but `MISSED`, of others some."""
        size = len(shingles)
        if not min(self._sizes) * self._threshold <= size <= max(self._sizes) / self._threshold:
            return []
        return [
            index
            for index in self._index.query(self._minhash(shingles))
            # The similarity is at most the quotient of the sizes.
            if min(size, self._sizes[index]) >= self._threshold * max(size, self._sizes[index])
        ]

    def _minhash(self, shingles: frozenset[str]) -> MinHash:
        minhash = self._empty.copy()
        minhash.update_batch([shingle.encode() for shingle in shingles])
        return minhash


def _reason(question: _Question, words: Sequence[str]) -> str:
    return WHOLE if spaced(question.words) in spaced(words) else f"{question.benchmark.ngram}-gram"


def _rank(match: Match) -> tuple[float, str]:
    """Smallest for the best match."""
    return -match.similarity, match.question
