"""What the results say of themselves, for the cards: sources, counts, evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from rlhf.base.artifacts import count_rows, stated_provenance
from rlhf.base.provenance import digest
from rlhf.datasets.folders import is_local
from rlhf.evaluation.schema import EVALUATION, LENGTH_CONTROL
from rlhf.models.revisions import read_revisions
from rlhf.publishing.cards.licences import licence
from rlhf.publishing.settings import PublishSpec, Source

STATED_BY = {
    "base_model": ("prompts.parquet", "model_revision"),
    "prompts": ("prompts.parquet", "dataset_revision"),
    "rewards": ("base/rewards/", "model_revision"),
    "evaluation.judge": ("base/judgements/", "model_revision"),
}
"""Key of a source -> the start of the files among the results that state its commit, and the name it has there."""
NOT_COUNTED = ("evaluation.parquet", "comparisons.parquet")
"""Files whose counts say nothing about what was dropped."""


@dataclass(frozen=True)
class KnownSource:
    """A model or dataset that the results derive from."""

    source: Source
    commit: str | None
    """Of the hub's repository; None for one that is local or made here."""
    licence: Mapping[str, Any]
    """`license`, and the name and link of one of its own; empty where it is not known."""

    @property
    def hub_name(self) -> str | None:
        """Its name on the hub, by which anyone can load it; None if it is not from there."""
        model, dataset = self.source.model, self.source.dataset
        if model is not None:
            return model.name if model.fingerprint is None else None
        return dataset.name if dataset is not None and not is_local(dataset.name) else None


@dataclass(frozen=True)
class Facts:
    """The results of an experiment that are published, as far as cards tell of them."""

    results: Path
    """The folder of the results."""
    places: tuple[str, ...]
    """The Parquet files in it that are published, relative to it."""
    spec: PublishSpec

    @cached_property
    def sources(self) -> list[KnownSource]:
        """What the results derive from, with commits and licences; each card is asked for once."""
        commits = [self._commit(source) for source in self.spec.sources]
        return [
            KnownSource(source, commit, licence(source, commit))
            for source, commit in zip(self.spec.sources, commits, strict=True)
        ]

    def source(self, key: str) -> KnownSource:
        return next(known for known in self.sources if known.source.key == key)

    def rows(self, place: str) -> int:
        return count_rows(self.results / place)

    def counts(self) -> Iterator[tuple[str, str, int]]:
        """(kind of file, what was counted, number), summed over the parts: `base/pairs`, `dropped: tie`, 12.

        What was counted as zero is left out.
        """
        found: dict[str, Counter[str]] = {}
        for place in self.places:
            if PurePosixPath(place).name not in NOT_COUNTED:
                kind = place.rsplit("/", 1)[0] if place.count("/") > 1 else place.removesuffix(".parquet")
                found.setdefault(kind, Counter()).update(dict(_flat(self.origin(place).get("counts", {}))))
        for kind in sorted(found):
            yield from ((kind, name, number) for name, number in found[kind].items() if number)

    def training_rows(self, origin: Mapping[str, Any]) -> tuple[int, str]:
        """The number of pairs that a policy was trained on, or of examples, and which of the two.

        Args:
            origin: the provenance of its checkpoint.
        """
        unit = "examples" if "examples" in origin["inputs"] else "pairs"
        inputs = set(origin["inputs"][unit])
        places = [place for place in self.places if f"/{unit}/" in place]
        given = sum(self.rows(place) for place in places if digest(self.results / place) in inputs)
        most: int | None = origin["spec"]["recipe"]["pairs"]
        return given if most is None else min(given, most), unit

    def evaluations(self, policies: Iterable[str]) -> list[dict[str, Any]]:
        """Rows of `EVALUATION`, each with the columns of its row in `LENGTH_CONTROL`, if it has one."""
        controlled = {
            (row["policy"], row["judge"]): row
            for row in LENGTH_CONTROL.read(self.results / "length_control.parquet").to_pylist()
        }
        rows = [
            row
            for policy in policies
            for row in EVALUATION.read(self.results / policy / "evaluation.parquet").to_pylist()
        ]
        return [{**controlled.get((row["policy"], row["judge"]), {}), **row} for row in rows]

    def origin(self, place: str) -> dict[str, Any]:
        """The provenance of a file."""
        return stated_provenance(self.results / place) or {}

    def _commit(self, source: Source) -> str | None:
        """The commit that results were made with: as they state it, else as it is pinned or was looked up."""
        hub = source.model if source.model is not None else source.dataset
        if hub is None or (source.model is not None and source.model.fingerprint is not None):
            return None
        start, fact = STATED_BY.get(source.key, (None, ""))
        place = next((place for place in self.places if start and place.startswith(start)), None)
        stated = self.origin(place).get(fact) if place else None
        recorded = read_revisions(self.results / "revisions.yaml").of("model" if source.model else "dataset")
        return stated or hub.revision or recorded.get(hub.name)


def _flat(counts: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, int]]:
    """`{"dropped": {"tie": 2}}` -> `("dropped: tie", 2)`."""
    for name, value in counts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}: ")
        elif isinstance(value, int):
            yield f"{before}{name}", value
