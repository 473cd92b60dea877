"""Check that there are enough prompts for the splits."""

from collections.abc import Mapping
from pathlib import Path

from rlhf.base.artifacts import count_rows, read_provenance
from rlhf.base.errors import UserError
from rlhf.prompts.settings import CollectSpec

REMEDIES = {
    "not_text": "most values in the column are not text: set `prompts.column` to a column of texts",
    "empty": "most texts are empty: set `prompts.column` to another column",
    "duplicate": "most texts are duplicates: use a larger dataset (`prompts.dataset`)",
    "too_long": "most texts are too long: raise `prompts.max_tokens`",
    "not_a_chat": "most rows are no chats of user and assistant in alternation: check `prompts.column` and `turns`",
    "refused_by_template": "the chat template of `base_model` refuses most conversations: see which roles it knows",
    "contaminated": "most prompts are questions of benchmarks: use another dataset (`prompts.dataset`)",
}
"""What to do, by the main reason why rows are dropped."""


def require_split_sizes(prompts: int, train: int, test: int, where: str, dropped: Mapping[str, int]) -> None:
    """Raise UserError if the two splits would overlap, or there are no prompts at all.

    Args:
        where: names the prompts in the message.
        dropped: number of dropped rows of the dataset, by reason; the main reason decides the advice.
    """
    if prompts and prompts >= train + test:
        return
    reason = max(dropped, key=dropped.__getitem__, default="")
    counts = ", ".join(f"{count} {name}" for name, count in dropped.items())
    main = f"; {REMEDIES[reason]}" if dropped.get(reason, 0) > prompts else ""
    asked = f"`prompts.train` ({train}) and `prompts.test` ({test}) ask for {train + test}"
    there = f"there are {prompts} prompts" if prompts else "no prompt is left"
    raise UserError(
        f"{where} (dropped: {counts}): {there}, but {asked}{main or '. Lower them, or use a larger dataset'}."
    )


def check_split_sizes(path: Path, train: int, test: int, spec: CollectSpec) -> None:
    """Stop at the start of a run if `prompts.parquet` exists, was made by `spec`, and has too few prompts.

    Raises:
        UserError: as `collect_prompts` would.
    """
    if not path.exists():
        return
    origin = read_provenance(path)
    if origin["spec"] == spec.model_dump(mode="json"):
        dropped = origin.get("counts", {}).get("dropped", {})
        require_split_sizes(count_rows(path), train, test, str(path), dropped)
