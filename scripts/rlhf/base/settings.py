"""The base of all settings classes: strict, immutable, documented where they are defined."""

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

LONGEST_CONTEXT = 10_000_000
"""Tokens: no model's context is longer."""
Precision = Literal["float32", "bfloat16"]
GivenText = Annotated[str, Field(min_length=1)]
Strength = Annotated[float, Field(ge=1e-6, le=1e6)]
"""Of a term of a loss: beyond these bounds the others are lost in rounding, and no gradient is left."""


class Settings(BaseModel):
    """Settings that accept neither unknown keys nor values of another type.

    The docstring under a field is its description in `config/README.md` and in the JSON schema.
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no white space: equal settings are equal strings."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
