"""The prompts of an experiment: settings, schema of the first artifact, and what makes two prompts the same."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import pyarrow as pa
from pydantic import Field

from rlhf.artifacts import TOKEN_IDS, Artifact, count_rows, read_provenance
from rlhf.errors import UserError
from rlhf.models import ModelSource
from rlhf.settings import LONGEST_CONTEXT, GivenText, Settings

MOST_PROMPTS = 1_000_000_000
"""Of a split."""


class PromptSettings(Settings):
    """Where the prompts come from, which are kept, and how they are split into parts."""

    dataset: str = Field(min_length=1)
    """Hub name of a dataset, a local Parquet or JSON lines file, or `{results}/...` for one that a rule makes."""
    revision: GivenText | None = None
    """Commit of the hub's dataset repository; null takes the newest and records which one it was."""
    subset: GivenText | None = None
    """Subset of the hub dataset, where it has several (its configuration, in the hub's words)."""
    split: str = Field("train", min_length=1)
    """Split of the hub dataset (local files have one split)."""
    column: str = Field("prompt", min_length=1)
    """Column with the prompt's text."""
    system: str | None = None
    """System prompt that goes before every prompt; null for none."""
    max_tokens: int = Field(1024, ge=1, le=LONGEST_CONTEXT)
    """Longest prompt in tokens, chat template included; longer ones are dropped and counted."""
    train: int = Field(59000, ge=1, le=MOST_PROMPTS)
    """Prompts to train on, from the start of the order by hash. May grow: full parts do not change."""
    test: int = Field(1000, ge=1, le=MOST_PROMPTS)
    """Prompts to evaluate on, from the end of the order by hash. May grow like `train`."""
    part_size: int = Field(7500, ge=1, le=MOST_PROMPTS)
    """Prompts per part: the unit of work of one job, and what a killed job loses."""
    per_iteration: Literal["all"] | Annotated[int, Field(ge=1)] = "all"
    """Train parts of each iteration: `all` of them, or a number of its own (iteration 2 takes the next ones)."""


class CollectSpec(Settings):
    """What `collect_prompts` reads."""

    seed: int
    """Seed of the order of the prompts."""
    dataset: str | None
    """Hub name or local file; null where the flag --dataset gives a file."""
    dataset_fingerprint: str | None
    """Digest of a local file, so that an exchanged one is noticed."""
    revision: str | None
    """Commit of the hub's dataset repository."""
    subset: str | None = None
    """Subset of the hub dataset, where it has several."""
    split: str
    """Split of the hub dataset."""
    column: str
    """Column with the prompt's text."""
    system: str | None
    """System prompt, or null."""
    max_tokens: int
    """Longest prompt in tokens."""
    model: ModelSource | None
    """The policy whose tokenizer and chat template count; null where --policy gives a folder."""


PROMPTS = Artifact(
    "prompts",
    pa.schema(
        [
            pa.field("prompt_id", pa.string(), nullable=False),
            pa.field("prompt", pa.string(), nullable=False),
            pa.field("prompt_token_ids", TOKEN_IDS, nullable=False),
        ]
    ),
    key=("prompt_id",),
)


def normalise_prompt(text: str) -> str:
    """Unicode NFC, line ends as LF, no outer white space. Normalising twice changes nothing."""
    return unicodedata.normalize("NFC", re.sub(r"\r\n?", "\n", text)).strip()


def prompt_id(prompt: str) -> str:
    """The identity of a normalised prompt: the first 16 hexadecimal characters of the SHA-256 of its UTF-8 text."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


def duplicate_key(prompt: str) -> str:
    """What two duplicates share: the text without case, and with white space collapsed."""
    return " ".join(prompt.casefold().split())


def order_key(seed: int, identity: str) -> str:
    """Where a prompt stands in the order: a hash, so that no other prompt and no machine has a say in it."""
    return hashlib.sha256(f"{seed}\0{identity}".encode()).hexdigest()


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
