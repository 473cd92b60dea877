"""Whether the results that a program reads were made from each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlhf.base.artifacts import ArtifactError, find_provenance
from rlhf.base.files.checksums import verify_if_sealed
from rlhf.base.provenance import digest

Files = dict[str, Path | Sequence[Path]]
"""By the names of their flags, without dashes."""
GROUPS = ("base_", "reference_", "validation_")
"""Beginnings of names of files that belong together, beside the others of the same kinds."""
SHARED = ("policy", "prompts")
"""What is the same for all groups."""


def checked_inputs(**files: Path | Sequence[Path] | None) -> Files:
    """The files that a program reads, for its provenance; those that are not given are left out.

    Of folders the checksums are compared, and not what they were made of: a parent comes of other pairs than those that
    it is trained on next.

    Raises:
        DamagedError: one of them is not as it was written.
        ArtifactError: one of them was made from another file than the one that is given here: rewards of other
            responses, for example, or log-probabilities of another policy.
    """
    given: Files = {name: paths for name, paths in files.items() if paths}
    for paths in given.values():
        for path in _each(paths):
            verify_if_sealed(path)
    digests = {name: {digest(path): path for path in _each(paths)} for name, paths in given.items()}
    for name, paths in given.items():
        for path in _each(paths):
            for source, recorded in _recorded_inputs(path).items():
                candidates = digests.get(_same_group(name, source, given), {})
                if candidates and not candidates.keys() >= set(recorded):
                    raise ArtifactError(
                        f"{path}: the {name} were made from other {source} than {_shown(candidates.values())}: one of "
                        f"them was exchanged, or made again since. Delete {path} and run the pipeline again."
                    )
    return given


def different_inputs(made: Mapping[str, Any], given: Mapping[str, Sequence[Path]]) -> list[str]:
    """Names of inputs that are others than those that a result was made from.

    Args:
        made: the result's provenance.
        given: what its rule would read now; of files that do not exist nothing is said.
    """
    recorded = made.get("inputs", {})
    return [
        name
        for name, paths in given.items()
        if paths and all(path.exists() for path in paths) and _as_list(recorded.get(name)) != list(map(digest, paths))
    ]


def _recorded_inputs(path: Path) -> dict[str, list[str]]:
    provenance = find_provenance(path) if path.suffix == ".parquet" else None
    return {name: _as_list(found) for name, found in (provenance or {}).get("inputs", {}).items()}


def _same_group(name: str, source: str, given: Files) -> str:
    """What is called `source` where a file was made, as this program calls it, which has several of its kind."""
    group = next((group for group in GROUPS if name.startswith(group)), "")
    if group:
        return source if source in SHARED else group + source
    return source if source in given else source.removeprefix("base_")


def _as_list(found: str | list[str] | None) -> list[str]:
    return found if isinstance(found, list) else [] if found is None else [found]


def _each(paths: Path | Sequence[Path]) -> Iterator[Path]:
    yield from [paths] if isinstance(paths, Path) else paths


def _shown(paths: Iterable[Path]) -> str:
    first, *more = map(str, paths)
    return f"{first} and {len(more)} more" if more else first
