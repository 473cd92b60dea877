"""Checks that the results a program reads belong together: that each was made from the others given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlhf.base.artifacts import ArtifactError, find_provenance
from rlhf.base.files.checksums import verify_if_sealed
from rlhf.base.provenance import digest

Files = dict[str, Path | Sequence[Path]]
"""Flag name without dashes -> file or files."""
GROUPS = ("base_", "reference_", "validation_")
"""Name prefixes of groups of files: `base_rewards` were made from `base_responses`, not from `responses`."""
SHARED = ("policy", "prompts")
"""Inputs that all groups share."""


def checked_inputs(**files: Path | Sequence[Path] | None) -> Files:
    """Verify the files that a program reads and return them for its provenance, without those that are None or empty.

    For folders only the checksums are verified, not what they were made from: a parent policy was trained on other
    pairs than those given now.

    Raises:
        DamagedError: a file changed since it was written.
        ArtifactError: a file was made from something else than the file given here, such as rewards of other responses
            or log-probabilities of another policy.
    """
    given: Files = {name: paths for name, paths in files.items() if paths}
    for paths in given.values():
        for path in _each(paths):
            verify_if_sealed(path)
    digests = {name: {digest(path): path for path in _each(paths)} for name, paths in given.items()}
    for name, paths in given.items():
        for path in _each(paths):
            for source, recorded in _recorded_inputs(path).items():
                candidates = digests.get(_name_in_group(name, source, given), {})
                if candidates and not candidates.keys() >= set(recorded):
                    raise ArtifactError(
                        f"{path}: the {name} were not made from the given {source} ({_shown(candidates.values())}): "
                        f"one of them was replaced or regenerated since. Delete {path} and run the pipeline again."
                    )
    return given


def different_inputs(made: Mapping[str, Any], given: Mapping[str, Sequence[Path]]) -> list[str]:
    """Names of the inputs that differ from those that a result was made from.

    Args:
        made: the result's provenance.
        given: what its rule would read now; inputs with a missing file are skipped.
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


def _name_in_group(name: str, source: str, given: Files) -> str:
    """This program's name for the input `source` of the file called `name`.

    For example, `responses` of `base_rewards` are called `base_responses` here.
    """
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
