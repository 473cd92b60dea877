"""Responses imported from a dataset, in wide form (`response_0`, `response_1`, ...) or long form (a row per response).

Where there is neither and the column of the prompts holds conversations, the response is the assistant's turn behind
the prompt. All forms may have rewards too: `response_0_reward`, ..., or `reward`. Responses and rewards that the
pipeline itself has made are read from its artifacts, or from what was published of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rlhf.base.artifacts import is_finite_float32
from rlhf.base.errors import UserError
from rlhf.datasets.conversations import read_example
from rlhf.datasets.files import is_text, require_columns
from rlhf.datasets.stored_ids import are_ids_of
from rlhf.datasets.wrong_values import WrongValues
from rlhf.prompts.schema import identity_of
from rlhf.responses.imported_draws import Imported, ImportedDraw, is_own, read_own
from rlhf.responses.settings import ImportSpec
from rlhf.tokens.chat import encode_response

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from rlhf.responses.thoughts import Thoughts

IMPORTED_SEED = 0
"""Seed of imported responses, which were not sampled here."""
LONG_RESPONSE, LONG_REWARD = "response", "reward"
SHOWN_CHARACTERS = 80


def read_imported(
    dataset: Dataset, prompts: Sequence[Mapping[str, Any]], spec: ImportSpec, where: str, *, rewards: bool
) -> Imported:
    """Read the responses to some prompts, matched by the normalised turns of the prompts; the pipeline's own by ID.

    In wide form, the first row of a prompt counts, as in `collect_prompts`.

    Args:
        prompts: rows of `PROMPTS`.
        where: the dataset, for messages.
        rewards: whether to read the rewards.

    Raises:
        UserError: a column or prompt is missing, or a response or reward has the wrong type or is not finite; names the
            rows and says what to do.
    """
    if is_own(dataset.column_names, rewards=rewards):
        matched = _match_rows(dataset["prompt_id"], prompts, where)
        return read_own(dataset, matched, spec.draws, rewards=rewards)
    chats = not is_text(dataset, spec.column)
    wide, names, reward_names = require_imported_columns(
        dataset.column_names, spec.draws, spec.column, where, rewards=rewards, chats=chats
    )
    matched = _match_rows(
        (identity_of(value, spec.turns, spec.template) for value in dataset[spec.column]), prompts, where
    )
    duplicates = 0
    if wide:
        duplicates = sum(len(rows) - 1 for rows in matched)
        matched = [rows[:1] for rows in matched]
    columns = dataset.select_columns([*names, *reward_names])[[row for rows in matched for row in rows]]
    if names == [spec.column]:
        columns[spec.column] = [read_example(value, spec.turns).answer for value in columns[spec.column]]
    reader = _Reader(spec.draws, names, reward_names)
    reader.imported.counts["duplicate_rows"] = duplicates
    at = 0
    for rows in matched:
        taken = {name: values[at : at + len(rows)] for name, values in columns.items()}
        reader.read_prompt(rows, taken)
        at += len(rows)
    reader.wrong.refuse(where, "response or reward")
    return reader.imported


def require_imported_columns(
    there: Sequence[str], draws: int, column: str, where: str, *, rewards: bool, chats: bool = False
) -> tuple[bool, list[str], list[str]]:
    """Find the columns of responses and rewards.

    Args:
        there: column names of the dataset.
        column: column of the prompts.
        chats: whether that column holds conversations, which may hold the responses too.

    Returns:
        Whether the dataset has the wide form, the columns of responses, and the columns of rewards.

    Raises:
        UserError: a column is missing; lists the columns that exist, and names the key to set.
    """
    wide = f"{LONG_RESPONSE}_0" in there
    names = [f"{LONG_RESPONSE}_{draw}" for draw in range(draws)] if wide else [LONG_RESPONSE]
    if chats and not wide and LONG_RESPONSE not in there:
        names = [column]
    reward_names = ([f"{name}_reward" for name in names] if wide else [LONG_REWARD]) if rewards else []
    found = sum(1 for name in there if name.removeprefix(f"{LONG_RESPONSE}_").isdigit()) if wide else 0
    count = f"; there are {found}: set `responses.draws: {found}`" if found > 1 else ""
    remedies = {
        "responses.imported.column": ([column], "Set it to the column with the prompts."),
        "responses.draws" if wide else "responses.imported.dataset": (
            names,
            f"`responses.draws: {draws}` asks for as many columns of responses{count}."
            if wide
            else "Responses must be in `response_0`, `response_1`, ..., or in `response`, one per row.",
        ),
        "responses.imported.rewards": (
            reward_names,
            "`true` needs a reward for each response: add them, or set `false` to score the responses with `rewards`.",
        ),
    }
    for key, (columns, remedy) in remedies.items():
        require_columns(there, columns, f"{key}: {where}", remedy)
    return wide, names, reward_names


def _match_rows(identities: Iterable[str | None], prompts: Sequence[Mapping[str, Any]], where: str) -> list[list[int]]:
    """The dataset's rows of each prompt.

    Args:
        identities: of the prompt of each row.

    Raises:
        UserError: some prompts are not in the dataset; names the first one.
    """
    rows: dict[str, list[int]] = {prompt["prompt_id"]: [] for prompt in prompts}
    for row, identity in enumerate(identities):
        if identity is not None and identity in rows:
            rows[identity].append(row)
    missing = [prompt for prompt in prompts if not rows[prompt["prompt_id"]]]
    if missing:
        raise UserError(
            f"{where}: no responses to {len(missing)} of {len(prompts)} prompts; the first is "
            f"{missing[0]['prompt_id']}: {missing[0]['prompt'][:SHOWN_CHARACTERS]!r}. Add rows with these prompts, or "
            "collect the prompts from the same dataset (`prompts.dataset`)."
        )
    return list(rows.values())


@dataclass
class _Reader:
    """Reads the rows of one prompt at a time."""

    draws: int
    names: list[str]
    reward_names: list[str]
    imported: Imported = field(default_factory=Imported)
    wrong: WrongValues = field(default_factory=WrongValues)

    def read_prompt(self, rows: Sequence[int], columns: Mapping[str, Sequence[object]]) -> None:
        found: list[ImportedDraw] = []
        cells = [(row, name, columns[name][index]) for index, row in enumerate(rows) for name in self.names]
        rewards = [columns[name][index] for index in range(len(rows)) for name in self.reward_names]
        for draw, (row, name, text) in enumerate(cells[: self.draws]):
            reward = rewards[draw] if rewards else None
            if text is None or (isinstance(text, str) and not text.strip()):
                self.imported.counts["missing"] += 1
            elif not isinstance(text, str):
                self.wrong.add(row, name, text, "text")
            elif reward is not None and not is_finite_float32(reward):
                self.wrong.add(row, self.reward_names[draw % len(self.reward_names)], reward, "a finite float32 number")
            else:
                found.append(ImportedDraw(draw, text, None if reward is None else float(str(reward))))
        self.imported.counts["beyond_draws"] += len(cells) - len(cells[: self.draws])
        self.imported.draws.append(found)


def imported_rows(
    prompts: Sequence[Mapping[str, Any]],
    imported: Imported,
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
    thoughts: Thoughts | None = None,
) -> Iterator[dict[str, Any]]:
    """Rows of `RESPONSES`, prompt by prompt, draws in order.

    Args:
        prompts: rows of `PROMPTS`.
        tokenizer: tokenizer of the policy.
        max_tokens: maximum length of a response, end-of-turn token included. A longer response is truncated: its text
            is decoded from the remaining tokens, and it has no end-of-turn token.
        thoughts: encodes the thoughts in the responses, if some are hidden; the text is then that of the token ids.

    The tokens of another run's responses are taken as they are, if they are of this tokenizer.
    """
    for prompt, draws in zip(prompts, imported.draws, strict=True):
        for draw in draws:
            text, ids = draw.response, draw.token_ids
            if ids is None or not _are_known(ids, text, prompt, tokenizer, thoughts):
                imported.counts.update(["encoded_again"] if ids is not None else [])
                ids = (
                    thoughts.encode(prompt["prompt_token_ids"], text) if thoughts else encode_response(tokenizer, text)
                )
                ids = ids[: -1 if draw.truncated else None]
            truncated = draw.truncated or len(ids) > max_tokens
            if len(ids) > max_tokens:
                ids = ids[:max_tokens]
                text = str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))
            text = thoughts.decode(ids) if thoughts else text
            yield {
                "prompt_id": prompt["prompt_id"],
                "draw": draw.draw,
                "response": text,
                "response_token_ids": ids,
                "finish_reason": "length" if truncated else "stop",
                "seed": IMPORTED_SEED,
            }


def _are_known(
    ids: Sequence[int],
    text: str,
    prompt: Mapping[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    thoughts: Thoughts | None,
) -> bool:
    """Whether stored token ids are those of the text that is stored with them, thoughts hidden or not."""
    return are_ids_of(tokenizer, ids, text) or (
        thoughts is not None and thoughts.are_ids_of(ids, text, prompt["prompt_token_ids"])
    )
