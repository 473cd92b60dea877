"""The prompts' file, and what makes two prompts the same."""

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


def read_part(path: Path, rows: Rows, columns: Sequence[str] | None = None) -> pa.Table:
    """Those rows of the prompts, or some columns of them, whatever else the file holds.

    Raises:
        ArtifactError: the file has fewer rows.
    """
    total = count_rows(path)
    start, stop, _ = slice(rows.start, rows.stop if rows.stop or rows.start >= 0 else None).indices(total)
    wanted = rows.stop - rows.start
    if stop - start != wanted:
        raise ArtifactError(f"{path}: rows {rows.start} to {rows.stop} are asked for, and it has {total} rows")
    return PROMPTS.read(path, columns, range(start, stop))
