"""What a judge is asked: a template file, filled in."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from jinja2 import Environment, StrictUndefined, TemplateError

from rlhf.base.errors import UserError
from rlhf.prompts.schema import NOTHING_KEPT

BUILT_IN = Path(__file__).parent


class JudgeTemplate:
    """A Jinja template for one user message.

    Texts are inserted as they are and never read as a template. A template should frame them with the lines that begin
    with `{{ boundary }}`: no text can hold its own boundary, which is made of a hash of the texts.

    Args:
        path: the user's file, or None for the built-in one.
        built_in: name of the built-in file.

    Raises:
        UserError: the file cannot be read, or is no template.
    """

    def __init__(self, path: str | None, built_in: str) -> None:
        self._file = Path(path) if path is not None else BUILT_IN / built_in
        environment = Environment(undefined=StrictUndefined, keep_trailing_newline=False, autoescape=False)
        try:
            self._template = environment.from_string(self._file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, TemplateError) as error:
            raise UserError(f"{self._file}: cannot be read as a judge's template: {error}") from error

    def fill(self, kept: str = NOTHING_KEPT, **texts: str) -> str:
        """The message for these texts (`prompt`, and `response` or `response_a` and `response_b`).

        Args:
            kept: JSON of the columns that the prompt keeps, which a template names as `kept.answer`.

        Raises:
            UserError: the template names a text that there is not, or cannot be filled in.
        """
        shown = [*texts.values(), *([] if kept == NOTHING_KEPT else [kept])]
        try:
            return self._template.render(**texts, kept=json.loads(kept), boundary=boundary(*shown))
        except TemplateError as error:
            names = ", ".join([*texts, "boundary", *(f"kept.{column}" for column in json.loads(kept))])
            raise UserError(f"{self._file}: cannot be filled in: {error}. A template may name {names}.") from error


def boundary(*texts: str) -> str:
    """The beginning of the lines around texts, such as `=== 0f3a9c1b7d2e4f60`: equal for equal texts."""
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8) + encoded)
    return f"=== {digest.hexdigest()[:16]}"
