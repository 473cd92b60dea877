"""What a server's answer says: a completion, what is wrong, and how long to wait."""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from http import HTTPStatus

import httpx2

from rlhf.base.files.journal import Answer
from rlhf.base.settings import canonical_json

VARYING = ("id", "created", "system_fingerprint", "service_tier")
"""Fields of a completion that differ between equal answers."""
IMPOSSIBLE = -9999.0
"""The log-probability of an impossible token as OpenAI's and vLLM's servers write it: JSON has no infinity."""


def completion_in(content: bytes) -> Answer | None:
    """The completion in the body of an answer, without what varies; None if it is something else."""
    try:
        completion = json.loads(content, parse_constant=_finite)
        canonical_json(completion).encode()
    except (ValueError, RecursionError):
        return None
    choices = completion.get("choices") if isinstance(completion, dict) else None
    if not isinstance(choices, list) or not choices:
        return None
    if not all(isinstance(choice, dict) and isinstance(choice.get("message"), dict) for choice in choices):
        return None
    return {name: value for name, value in completion.items() if name not in VARYING}


def _finite(constant: str) -> float:
    """For a constant that Python's JSON has and JSON has not; raises ValueError if it means nothing here."""
    if constant != "-Infinity":
        raise ValueError(constant)
    return IMPOSSIBLE


def described(response: httpx2.Response) -> str:
    """Status and kind of an error, without its message: that may hold the request's texts."""
    try:
        name = HTTPStatus(response.status_code).phrase
        error = response.json().get("error", {})
        kinds = [error.get("code"), error.get("type")]
    except (ValueError, AttributeError):
        return str(response.status_code)
    kind = ", ".join(kind for kind in kinds if isinstance(kind, str) and re.fullmatch(r"[\w.-]{1,64}", kind))
    return f"{response.status_code} {name}" + (f" ({kind})" if kind else "")


def retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds that a server asks to wait; None if it does not say."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        return seconds if 0 < seconds < math.inf else None
    date = email.utils.parsedate_tz(headers.get("retry-after", ""))
    if date is None:
        return None
    try:
        seconds = email.utils.mktime_tz(date) - time.time()
    except (ValueError, OverflowError):
        return None
    return seconds if seconds > 0 else None
