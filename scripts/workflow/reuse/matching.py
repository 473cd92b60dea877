"""Which results of other experiments are exactly those that a job would make.

A result lies at the same path in every experiment, for its seed depends on the names of policy and part. So the file at
that path is looked at in each other experiment, and what it says of itself is compared: settings, code, contents of its
inputs, hub commits, library versions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf.base.files.checksums import stated_checksum
from rlhf.base.settings import canonical_json
from workflow.records.accepted_code import ACCEPTED, AcceptedCode
from workflow.records.changed_settings import changed_settings
from workflow.records.own_records import stated_origin

SHOWN_SETTINGS = 3
IDENTITY_CHARACTERS = 32


@dataclass(frozen=True)
class Wanted:
    """What a job would make."""

    outputs: tuple[Path, ...]
    """Relative to the experiment's folder."""
    spec: str
    """Its settings as JSON."""
    code: str
    """The digest of its program."""
    inputs: Mapping[str, Sequence[str]]
    """Digests of its input files, by the names that the rule gives them; names without files are omitted."""
    versions: Mapping[str, str]
    """Library -> version that the job would run with, as far as its environment says."""
    commits: Collection[str] | None
    """Hub commits that the experiment uses where its configuration has no revision; None before they are looked up."""

    def identity(self) -> str:
        """A digest of what makes a result: settings, code, inputs and libraries, and its name among the results.

        Hub commits are left out: which of them a job uses, its result alone says.
        """
        outputs = [path.as_posix() for path in self.outputs]
        made_by = [outputs, json.loads(self.spec), self.code, dict(self.inputs), dict(self.versions)]
        return hashlib.sha256(canonical_json(made_by).encode()).hexdigest()[:IDENTITY_CHARACTERS]


@dataclass(frozen=True)
class OtherExperiment:
    """The results of another experiment."""

    folder: Path
    accepted: AcceptedCode
    """The changes of code that make no difference, of both experiments."""

    def find(self, wanted: Wanted) -> tuple[list[Path], str | None]:
        """The files that a job would make; else none, and why a file that lies in their place is another one.

        The reason is None where there is no such file.
        """
        found = [self.folder / output for output in wanted.outputs]
        if not all(path.exists() for path in found):
            return [], None
        for path in found:
            try:
                reason = next(self._differences(stated_origin(path), wanted), None)
                if reason is None and stated_checksum(path) is None:
                    reason = "no checksum"
            except OSError as error:  # it belongs to another user, or has just been removed
                reason = f"{error.strerror}: {path}"
            if reason is not None:
                return [], reason
        return found, None

    def _differences(self, origin: Mapping[str, Any] | None, wanted: Wanted) -> Iterator[str]:
        if origin is None or not {"spec", "code", "inputs", "versions"} <= origin.keys():
            yield "no provenance"
            return
        settings = list(changed_settings(origin["spec"], json.loads(wanted.spec)))
        if settings:
            yield ", ".join(settings[:SHOWN_SETTINGS])
        if not self.accepted.is_same(origin["code"], wanted.code):
            yield "other code"
        made_from = {name: [files] if isinstance(files, str) else files for name, files in origin["inputs"].items()}
        names = sorted(made_from.keys() | wanted.inputs.keys())
        others = [name for name in names if made_from.get(name, []) != list(wanted.inputs.get(name, []))]
        if others:
            yield f"other {', '.join(others)}"
        yield from _other_versions(origin["versions"], wanted.versions)
        unknown = _commits(origin) - {*_texts(origin["spec"]), *(wanted.commits or ())}
        if unknown and wanted.commits is not None:
            yield f"hub commit {min(unknown)[:8]}"


def other_experiments(folders: Iterable[str], own: Path, accepted: AcceptedCode) -> list[OtherExperiment]:
    """The experiments in the folders of `reuse`: each is one experiment's results, or holds those of several."""
    found: dict[Path, Path] = {}
    for folder in filter(Path.is_dir, map(Path, folders)):
        inner = [folder] if is_experiment(folder) else sorted(folder.iterdir())
        found.update({path.resolve(): path for path in inner if is_experiment(path)})
    found.pop(own.resolve(), None)
    return [OtherExperiment(path, _accepted_in(path, accepted)) for path in found.values()]


def is_experiment(folder: Path) -> bool:
    """Whether a folder has the results of an experiment: some of its first rules were done."""
    return any((folder / name).exists() for name in ("prompts.parquet", "world", "base"))


def _accepted_in(folder: Path, own: AcceptedCode) -> AcceptedCode:
    both = AcceptedCode(dict(own.later))
    both.include(AcceptedCode.read(folder / ACCEPTED))
    return both


def _other_versions(made: Mapping[str, str], asked: Mapping[str, str]) -> Iterator[str]:
    """Versions that differ. A pin without a label, 2.13.0, is met by any build of it, such as 2.13.0+cpu (PEP 440)."""
    others = [name for name in asked if asked[name] not in (made.get(name), made.get(name, "").partition("+")[0])]
    if others:
        yield ", ".join(f"{name} {made.get(name, 'none')} -> {asked[name]}" for name in others[:SHOWN_SETTINGS])


def _commits(origin: Mapping[str, Any]) -> set[str]:
    """The hub commits that a result was made with."""
    return {value for name, value in origin.items() if name.endswith("_revision") and value is not None}


def _texts(value: Any) -> Iterator[str]:
    """All texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)
