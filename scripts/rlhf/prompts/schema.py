"""The schema of prompts, and what makes two prompts the same."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from rlhf.base.artifacts import TOKEN_IDS, Artifact, ArtifactError, count_rows, table_schema
from rlhf.base.names import Rows

PROMPTS = Artifact(
    "prompts",
    table_schema(
        {
            "prompt_id": pa.string(),
            "prompt": pa.string(),
            "prompt_token_ids": TOKEN_IDS,
        }
    ),
    key=("prompt_id",),
)
CONTAMINATION = Artifact(
    "contamination",
    table_schema(
        {
            "prompt_id": pa.string(),
            "prompt": pa.string(),
            "benchmark": pa.string(),
            "question": pa.string(),
            "reason": pa.string(),
            "similarity": pa.float64(),
        }
    ),
    key=("prompt_id", "benchmark"),
)
"""The dropped prompts, with the most similar of the questions that each one matches in each benchmark."""


def normalise_prompt(text: str) -> str:
    """Unicode NFC, LF line endings, no leading or trailing whitespace. Idempotent."""
    return unicodedata.normalize("NFC", re.sub(r"\r\n?", "\n", text)).strip()


def prompt_id(prompt: str) -> str:
    """ID of a normalised prompt: the first 16 hexadecimal digits of the SHA-256 of its UTF-8 text."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


def duplicate_key(prompt: str) -> str:
    """Equal for duplicates: the text case-folded, with whitespace collapsed."""
    return " ".join(prompt.casefold().split())


def order_key(seed: int, identity: str) -> str:
    """Sort key of a prompt: a hash, so that the order depends on neither other prompts nor the machine."""
    return hashlib.sha256(f"{seed}\0{identity}".encode()).hexdigest()


def read_part(path: Path, rows: Rows, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the prompts of a part.

    Args:
        rows: the rows of the part; negative numbers count from the end.
        columns: the columns to read; all by default.

    Raises:
        ArtifactError: the file has fewer rows than that.
    """
    total = count_rows(path)
    start, stop, _ = slice(rows.start, rows.stop if rows.stop or rows.start >= 0 else None).indices(total)
    wanted = rows.stop - rows.start
    if stop - start != wanted:
        raise ArtifactError(f"{path}: cannot read rows {rows.start} to {rows.stop}: the file has {total} rows")
    return PROMPTS.read(path, columns, range(start, stop))
