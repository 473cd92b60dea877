"""Wrong marks around thoughts: what is changed of config/micro.yaml, and what is said."""

from typing import Any

from wrong_changes import Case


def hide(**settings: Any) -> dict[str, Any]:
    return {"responses.hide": settings}


THOUGHTS: list[Case] = [
    ({"responses.hide": True}, ["responses.hide: must be a section", "True", "close, open"]),
    (hide(open="<think>"), ["responses.hide.close: this key is missing"]),
    (hide(open="<think>", close=""), ["responses.hide.close: ", "at least 1 character", "''"]),
    (hide(open="<think>\n", close="</think>"), ["responses.hide.open: must neither begin nor end with white space"]),
    (hide(open="<t>", close="<t>"), ["responses.hide: `open` ('<t>') and `close` ('<t>') must not contain each other"]),
    (hide(open="<t>", close="<t>x"), ["responses.hide: `open` ('<t>')", "'<t>x'", "must not contain each other"]),
    (hide(open="<t>", close="</t>", end="x"), ["responses.hide.end: there is no such key", "close, open"]),
    ({"tiny.thoughts": "yes"}, ["tiny.thoughts: ", "'yes'"]),
]
