"""The schema of prompts, its rows as objects, and what makes two prompts the same."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from rlhf.base.artifacts import TOKEN_IDS, Artifact, ArtifactError, count_rows, find_provenance, table_schema
from rlhf.base.names import Rows
from rlhf.base.settings import canonical_json
from rlhf.datasets.conversations import Messages, NoPromptError, Turns, read_example
from rlhf.tokens.templates import NO_OPTIONS, TemplateOptions

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
MESSAGES = pa.list_(
    pa.field(
        "element",
        pa.struct([pa.field(name, pa.string(), nullable=False) for name in ("role", "content")]),
        nullable=False,
    )
)
"""Type of a column of conversations."""
CHATS = Artifact(
    PROMPTS.name,
    PROMPTS.schema.append(pa.field("messages", MESSAGES, nullable=False)).append(
        pa.field("kept", pa.string(), nullable=False)
    ),
    PROMPTS.key,
)
"""Prompts that are more than single user turns, or keep columns of their dataset. `messages` is the whole prompt, the
system prompt included, and `prompt` the text of its last user turn. `kept` is a JSON object of the kept columns."""
NOTHING_KEPT = "{}"
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


def prompt_id(prompt: str) -> str:
    """ID of a normalised prompt: the first 16 hexadecimal digits of the SHA-256 of its UTF-8 text."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


def conversation_id(messages: Messages, template: TemplateOptions = NO_OPTIONS) -> str:
    """ID of a normalised conversation: of a single user turn that of its text, else that of its JSON.

    Args:
        messages: the prompt as its row has it, without the experiment's own system prompt.
        template: options of the chat template: with other ones it is another prompt.
    """
    if len(messages) == 1 and not template:
        return prompt_id(messages[0][1])
    return prompt_id(canonical_json({"messages": messages, **({"template": dict(template)} if template else {})}))


def identity_of(value: object, turns: Turns, template: TemplateOptions = NO_OPTIONS) -> str | None:
    """ID of the prompt in a value of a dataset's column; None if it holds none."""
    try:
        return conversation_id(read_example(value, turns).messages, template)
    except NoPromptError:
        return None


def duplicate_key(prompt: str) -> str:
    """Equal for duplicates: the text case-folded, with whitespace collapsed."""
    return " ".join(prompt.casefold().split())


def conversation_duplicate_key(messages: Messages) -> str:
    """Equal for conversations whose turns are duplicates of each other."""
    turns = [(role, duplicate_key(text)) for role, text in messages]
    return turns[0][1] if len(turns) == 1 else canonical_json(turns)


def order_key(seed: int, identity: str) -> str:
    """Sort key of a prompt: a hash, so that the order depends on neither other prompts nor the machine."""
    return hashlib.sha256(f"{seed}\0{identity}".encode()).hexdigest()


@dataclass(frozen=True)
class Prompt:
    """A prompt as scorers see it."""

    prompt_id: str
    messages: Messages
    """The whole prompt, the system prompt included; the user's turn last."""
    kept: str
    """JSON object of the columns that the prompt keeps of its dataset."""

    @property
    def text(self) -> str:
        """The last user turn."""
        return self.messages[-1][1]

    @property
    def columns(self) -> dict[str, Any]:
        """The columns that it keeps."""
        found: dict[str, Any] = json.loads(self.kept)
        return found


def prompt_artifact(path: Path) -> Artifact:
    """The schema of a file of prompts: of single user turns, or of conversations."""
    chats = path.is_file() and bool((find_provenance(path) or {}).get("chats"))
    return CHATS if chats else PROMPTS


def read_prompts(path: Path, rows: Rows) -> list[Prompt]:
    """Read the prompts of a part.

    Raises:
        ArtifactError: the file has fewer rows than that.
    """
    chats = prompt_artifact(path) is CHATS
    table = read_part(path, rows, ["prompt_id", "messages", "kept"] if chats else ["prompt_id", "prompt"])
    if not chats:
        pairs = zip(table["prompt_id"].to_pylist(), table["prompt"].to_pylist(), strict=True)
        return [Prompt(identity, (("user", text),), NOTHING_KEPT) for identity, text in pairs]
    return [
        Prompt(row["prompt_id"], tuple((turn["role"], turn["content"]) for turn in row["messages"]), row["kept"])
        for row in table.to_pylist()
    ]


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
    return prompt_artifact(path).read(path, columns, range(start, stop))
