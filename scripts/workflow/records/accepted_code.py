"""Changes of code that `make accept` found to change no result."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rlhf.base.files.temporary_files import temporary_beside

ACCEPTED = "accepted.json"
"""The file among the results of an experiment."""


@dataclass(frozen=True)
class AcceptedCode:
    """Digests of programs, and the later digests known to produce the same results."""

    later: dict[str, list[str]]

    @classmethod
    def read(cls, path: Path) -> AcceptedCode:
        """The accepted changes of an experiment; empty if there is no file."""
        return cls(json.loads(path.read_text()) if path.is_file() else {})

    def include(self, other: AcceptedCode) -> None:
        """Add the accepted changes of another experiment."""
        for made, asked in other.later.items():
            self.later[made] = sorted({*self.later.get(made, []), *asked})

    def is_same(self, made: str, asked: str) -> bool:
        """Whether results of one digest count as results of the other, in one or several steps."""
        seen, left = {made}, [made]
        while left:
            new = set(self.later.get(left.pop(), [])) - seen
            seen |= new
            left += new
        return asked in seen

    def add(self, path: Path, made: str, asked: str) -> None:
        """Add a change and write the experiment's file."""
        self.later.setdefault(made, [])
        self.later[made] = sorted({*self.later[made], asked})
        with temporary_beside(path) as temporary:
            temporary.write_text(json.dumps(self.later, indent=2, sort_keys=True) + "\n")
            temporary.replace(path)
