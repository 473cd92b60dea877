"""Whether there are as many prompts as `train` and `test` ask for."""

from collections.abc import Mapping
from pathlib import Path

from rlhf.base.artifacts import count_rows, read_provenance
from rlhf.base.errors import UserError
from rlhf.prompts.settings import CollectSpec

REMEDIES = {
    "not_text": "what most rows hold in the column is no text: set `prompts.column` to one that holds text",
    "empty": "most texts are empty: set `prompts.column` to another one",
    "duplicate": "most texts stand there before: give a larger dataset (`prompts.dataset`)",
    "too_long": "most texts are too long: raise `prompts.max_tokens`",
}
"""By why most rows of a dataset are dropped."""


def require_split_sizes(prompts: int, train: int, test: int, where: str, dropped: Mapping[str, int]) -> None:
    """Raise UserError where `train` and `test` would meet, or there is no prompt at all.

    Args:
        where: names the prompts in the message.
        dropped: rows of the dataset that are no prompts, by reason; the main one decides what to do.
    """
    if prompts and prompts >= train + test:
        return
    reason = max(dropped, key=dropped.__getitem__, default="")
    counts = ", ".join(f"{count} {name}" for name, count in dropped.items())
    main = f"; {REMEDIES[reason]}" if dropped.get(reason, 0) > prompts else ""
    asked = f"`prompts.train` ({train}) and `prompts.test` ({test}) ask for {train + test}"
    there = f"there are {prompts} prompts" if prompts else "no prompt is left"
    raise UserError(
        f"{where} (dropped: {counts}): {there}, and {asked}{main or '. Lower them, or give a larger dataset'}."
    )


def check_split_sizes(path: Path, train: int, test: int, spec: CollectSpec) -> None:
    """Stop at the start of a run where the prompts that exist, and are made by `spec`, are too few.

    Raises:
        UserError: as `collect_prompts` would.
    """
    if not path.exists():
        return
    origin = read_provenance(path)
    if origin["spec"] == spec.model_dump(mode="json"):
        dropped = origin.get("counts", {}).get("dropped", {})
        require_split_sizes(count_rows(path), train, test, str(path), dropped)
