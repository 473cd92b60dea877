"""Reading what a training is given: pairs or examples, whichever its loss learns from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from rlhf.base.errors import UserError
from rlhf.examples.schema import ExampleTable
from rlhf.pairs.paired_prompts import PairedPrompts
from rlhf.training.settings import TrainSpec
from rlhf.training.units.unit import RowFiles

Rows = PairedPrompts | ExampleTable
UNITS = ("pairs", "examples")


def read_rows(
    given: Mapping[str, Sequence[Path]],
    spec: TrainSpec,
    share: Callable[[Callable[[], Iterator[pa.Table]]], pa.Table],
) -> tuple[Rows, Rows]:
    """The rows to train on and to validate on.

    Args:
        given: files by the names `pairs`, `examples`, `logprobs`, and the same after `earlier_` and `validation_`.
        share: as for `Unit.read`.

    Raises:
        UserError: what the loss learns from is not given, or something else is.
        ArtifactError: as for `Unit.read`.
    """
    unit = spec.loss.unit()
    unread = [f"{group}{name}" for group in ("", "earlier_", "validation_") for name in UNITS if name != unit.name]
    missing = [name for name in (unit.name, f"validation_{unit.name}") if not given[name]]
    for name in [*(name for name in unread if given[name]), *missing]:
        needs = "needs them" if name in missing else f"learns from {unit.name}"
        raise UserError(f"--{name.replace('_', '-')}: the loss {spec.loss.name} {needs}")

    def files(group: str) -> RowFiles:
        return RowFiles(given[group + unit.name], given[f"{group}logprobs"])

    return (
        unit.read(files(""), spec, share, files("earlier_")),
        unit.read(files("validation_"), spec, share, RowFiles()),
    )
