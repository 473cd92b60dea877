"""The base of all settings classes: strict, immutable, documented where they are defined."""

import json
import os
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from rlhf.base.errors import UserError

LONGEST_CONTEXT = 10_000_000
"""Upper bound for lengths in tokens: no model has a longer context."""
Precision = Literal["float32", "bfloat16"]
GivenText = Annotated[str, Field(min_length=1)]
ServerUrl = Annotated[str, Field(pattern=r"^https?://[^\s/]+\S*$")]
Strength = Annotated[float, Field(ge=1e-6, le=1e6)]
"""Weight of a term of a loss. Beyond these bounds, rounding swallows the other terms, or the gradient vanishes."""


class Settings(BaseModel):
    """Settings that reject unknown keys and values of the wrong type.

    The docstring under a field is its description in `config/README.md` and in the JSON schema.
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no whitespace, so that equal settings give equal strings."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def key_of_server(variable: str, setting: str) -> str:
    """The key for a server, from the environment alone.

    Args:
        variable: the environment variable that holds it.
        setting: the key of the configuration that names the variable.

    Raises:
        UserError: it is not set.
    """
    key = os.environ.get(variable)
    if not key:
        raise UserError(f"the environment variable {variable} (`{setting}`) is not set")
    return key
