"""The schema of examples, and its rows as objects."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from rlhf.base.artifacts import TOKEN_IDS, Artifact, table_schema
from rlhf.pairs.schema import RowTable
from rlhf.tokens.prompt_group import PromptGroup, TokenIds

EXAMPLES = Artifact(
    "examples",
    table_schema(
        {
            "prompt_id": pa.string(),
            "draw": pa.int32(),
            "prompt_token_ids": TOKEN_IDS,
            "response_token_ids": TOKEN_IDS,
            "desirable": pa.bool_(),
            "reward": pa.float32(),
            "other_prompt_id": pa.string(),
            "other_draw": pa.int32(),
            "other_token_ids": TOKEN_IDS,
            "response": pa.string(),
        }
    ),
    key=("prompt_id", "draw"),
)
"""`other_...` is the response to another prompt, beside this prompt: how likely a policy finds such mismatched
responses is what KTO measures its distance to the reference by."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A row of `EXAMPLES` without texts, and its reference log-probabilities from `EXAMPLE_LOGPROBS`.

    Token ids are int32 (tokens,), end-of-turn token included.
    """

    prompt_id: str
    draw: int
    prompt_token_ids: TokenIds
    response_token_ids: TokenIds
    other_token_ids: TokenIds
    desirable: bool
    reward: float
    logprob: float = math.nan
    """Of the response. NaN before the log-probabilities are read, so that a loss fails visibly without them."""
    other_logprob: float = math.nan
    """Of the response to another prompt."""

    @property
    def prompt_group(self) -> PromptGroup:
        """The prompt with its response."""
        return PromptGroup(self.prompt_token_ids, [self.response_token_ids])

    @property
    def mismatched(self) -> PromptGroup:
        """The prompt with the response to another prompt."""
        return PromptGroup(self.prompt_token_ids, [self.other_token_ids])

    @property
    def both(self) -> PromptGroup:
        """The prompt with its response, and the one to another prompt."""
        return PromptGroup(self.prompt_token_ids, [self.response_token_ids, self.other_token_ids])


EXAMPLE_COLUMNS = [field.name for field in fields(Example) if field.name in EXAMPLES.schema.names]
"""Columns of `EXAMPLES` that an `Example` holds."""
REFERENCE_COLUMNS = [field.name for field in fields(Example) if field.name not in EXAMPLES.schema.names]
"""Columns of `EXAMPLE_LOGPROBS` that an `Example` holds."""


class ExampleTable(RowTable[Example]):
    """The examples of an Arrow table.

    Args:
        table: `EXAMPLE_COLUMNS`, and `REFERENCE_COLUMNS` or none of them.
    """

    row = Example

    @property
    def unit(self) -> str:
        """What its members are called where they are counted."""
        return "examples"

    @property
    def longest(self) -> int:
        """Number of tokens of the longest example, its prompt counted once; 0 without examples."""
        columns = (name for name in EXAMPLE_COLUMNS if EXAMPLES.schema.field(name).type == TOKEN_IDS)
        lengths = (pc.list_value_length(self.table[name]) for name in columns)
        return pc.max(reduce(pc.add, lengths)).as_py() or 0

    @property
    def largest(self) -> int:
        """Number of tokens of the largest example: nothing of it can be computed apart."""
        return self.longest
