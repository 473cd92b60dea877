"""The base of all settings classes: strict, immutable, documented where they are defined."""

import json

from pydantic import BaseModel, ConfigDict


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
