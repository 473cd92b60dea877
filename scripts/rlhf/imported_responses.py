"""Responses that the user brings, in the wide form `prompt`, `response_0`, `response_1`, ...: rows of `RESPONSES`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rlhf.chat import encode_response
from rlhf.errors import UserError
from rlhf.prompts import normalise_prompt, prompt_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IMPORTED_SEED = 0
"""The seed of every imported response: nothing here drew it."""
SHOWN_CHARACTERS = 80
SHOWN_ROWS = 5


def response_columns(draws: int) -> list[str]:
    """`response_0` to `response_<draws - 1>`; further columns of the dataset are passed over."""
    return [f"response_{draw}" for draw in range(draws)]


def match_rows(texts: Iterable[object], prompts: Sequence[Mapping[str, Any]], where: str) -> list[int]:
    """The dataset's row of each prompt: the first one whose normalised text is the prompt's.

    A prompt that occurs twice in the dataset has the responses of its first row, as in `collect_prompts`.

    Args:
        texts: the column `prompt` of the dataset.
        prompts: rows of `PROMPTS`.
        where: the dataset, for the message.

    Raises:
        UserError: prompts that the dataset does not hold, the first one by name.
    """
    wanted = {prompt["prompt_id"] for prompt in prompts}
    rows: dict[str, int] = {}
    for row, text in enumerate(texts):
        if isinstance(text, str) and (identity := prompt_id(normalise_prompt(text))) in wanted:
            rows.setdefault(identity, row)
    missing = [prompt for prompt in prompts if prompt["prompt_id"] not in rows]
    if missing:
        raise UserError(
            f"{where}: no responses to {len(missing)} of {len(prompts)} prompts; the first is "
            f"{missing[0]['prompt_id']}: {missing[0]['prompt'][:SHOWN_CHARACTERS]!r}. Add rows with these prompts, or "
            "collect the prompts from this very file (`prompts.dataset`)."
        )
    return [rows[prompt["prompt_id"]] for prompt in prompts]


def check_responses(columns: Mapping[str, Sequence[object]], rows: Sequence[int], where: str) -> None:
    """Raise UserError, with the first rows, where a response is null, not a string, or nothing but white space.

    What a policy never said is neither the best nor the worst answer, and a hole in somebody's file is seldom meant.

    Args:
        columns: the responses to the matched prompts by column.
        rows: where these stand in the dataset, for the message.
        where: the dataset, for the message.
    """
    bad = [
        f"row {row}, column {name!r}: {'it is empty' if isinstance(value, str) else f'it is {value!r:.40}'}"
        for name, values in columns.items()
        for row, value in zip(rows, values, strict=True)
        if not isinstance(value, str) or not value.strip()
    ]
    if bad:
        raise UserError(
            f"{where}: {len(bad)} responses are missing:\n  " + "\n  ".join(bad[:SHOWN_ROWS]) + "\n"
            "Fill them in, or leave these rows out, and their prompts of `prompts.dataset`."
        )


def imported_rows(
    prompts: Sequence[Mapping[str, Any]],
    responses: Iterable[Sequence[str]],
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
) -> Iterator[dict[str, Any]]:
    """Rows of `RESPONSES`, for each prompt its draws in order.

    Args:
        prompts: rows of `PROMPTS`.
        responses: to each prompt its responses, by draw.
        tokenizer: the policy's.
        max_tokens: longest response, end-of-turn token included. A longer one is cut there: its text is that of the
            tokens that are left, and it has no end-of-turn token.
    """
    for prompt, draws in zip(prompts, responses, strict=True):
        for draw, text in enumerate(draws):
            ids = encode_response(tokenizer, text)
            cut = len(ids) > max_tokens
            if cut:
                ids = ids[:max_tokens]
                text = str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))
            yield {
                "prompt_id": prompt["prompt_id"],
                "draw": draw,
                "response": text,
                "response_token_ids": ids,
                "finish_reason": "length" if cut else "stop",
                "seed": IMPORTED_SEED,
            }
