"""Imported responses and rewards."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.base.errors import UserError
from rlhf.base.names import Rows
from rlhf.datasets.conversations import normalise_prompt
from rlhf.datasets.wrong_values import SHOWN_ROWS
from rlhf.prompts.schema import prompt_id
from rlhf.responses.imported import Imported, ImportedDraw, imported_rows, read_imported
from rlhf.responses.schema import RESPONSES
from rlhf.responses.settings import ImportSpec
from rlhf.rewards.imported import imported_rewards
from rlhf.rewards.schema import REWARDS, reward_counts
from rlhf.tokens.chat import encode_response, end_of_turn_id
from small_tokenizers import small_tokenizer

TOKENIZER = small_tokenizer()
Cell = tuple[str | None, float | None]
"""A response and its reward."""
CELLS = st.tuples(
    st.sampled_from([None, "", " \n\t", "x", " y ", "🦙 שלום", "z" * 50]),
    st.one_of(st.none(), st.floats(-1e38, 1e38), st.integers(-5, 5).map(float)),
)


def prompt(text: str) -> dict[str, str]:
    return {"prompt_id": prompt_id(normalise_prompt(text)), "prompt": normalise_prompt(text)}


def read(
    columns: dict[str, list[Any]], *names: str, draws: int = 2, rewards: bool = True, column: str = "prompt"
) -> Imported:
    """The draws that are read for these prompts."""
    part = {"rows": Rows(start=0, stop=1), "draws": draws}
    spec = ImportSpec(dataset="x", dataset_fingerprint=None, revision=None, split="train", column=column, **part)
    return read_imported(
        Dataset.from_dict(columns), [prompt(name) for name in names], spec, "data.jsonl", rewards=rewards
    )


def wide(rows: list[tuple[str, list[Cell]]]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {"prompt": [text for text, _ in rows]}
    for draw in range(len(rows[0][1])):
        columns[f"response_{draw}"] = [cells[draw][0] for _, cells in rows]
        columns[f"response_{draw}_reward"] = [cells[draw][1] for _, cells in rows]
    return columns


def long(rows: list[tuple[str, list[Cell]]]) -> dict[str, list[Any]]:
    flat = [(text, *cell) for text, cells in rows for cell in cells]
    return dict(zip(("prompt", "response", "reward"), map(list, zip(*flat, strict=True)), strict=True))


def test_wide_form() -> None:
    data = wide(
        [("other", [("no", 9.0), ("no", 9.0)]), ("b", [("b0", 0.5), ("b1", None)]), ("a", [("a0", 3), ("", 4)])]
    )
    imported = read(data, "a", "b")
    assert imported.draws == [
        [ImportedDraw(0, "a0", 3.0)],
        [ImportedDraw(0, "b0", 0.5), ImportedDraw(1, "b1", None)],
    ]
    assert imported.counts == {"missing": 1, "beyond_draws": 0, "duplicate_rows": 0}
    assert {draw.reward for draws in read(data, "a", "b", rewards=False).draws for draw in draws} == {None}
    assert read(data, "b", draws=1).draws == [[ImportedDraw(0, "b0", 0.5)]]


def test_one_row_per_response() -> None:
    cells = [("a", "a0", 1.0), ("b", "b0", 2.0), ("a", None, 3.0), (" a\r\n", "a2", None), ("b", "b1", 5.0)]
    data = dict(zip(("prompt", "response", "reward"), map(list, zip(*cells, strict=True)), strict=True))
    imported = read(data, "b", "a", draws=3)
    assert imported.draws == [
        [ImportedDraw(0, "b0", 2.0), ImportedDraw(1, "b1", 5.0)],
        [ImportedDraw(0, "a0", 1.0), ImportedDraw(2, "a2", None)],
    ]
    assert imported.counts == {"missing": 1, "beyond_draws": 0, "duplicate_rows": 0}
    fewer = read(data, "b", "a", draws=2, rewards=False)
    assert fewer.counts == {"missing": 1, "beyond_draws": 1, "duplicate_rows": 0}
    assert [[draw.response for draw in draws] for draws in fewer.draws] == [["b0", "b1"], ["a0"]]


@given(
    cells=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=4),
    draws=st.integers(1, 3),
    order=st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=60)
def test_both_forms_round_trip(cells: list[list[Cell]], draws: int, order: Any) -> None:
    rows = [(f" prompt {number}\r\n", row) for number, row in enumerate(cells)]
    names = [text for text, _ in rows]
    order.shuffle(names)
    by_name = dict(rows)
    expected = [
        [
            ImportedDraw(draw, text, reward)
            for draw, (text, reward) in enumerate(by_name[name][:draws])
            if text and text.strip()
        ]
        for name in names
    ]
    missing = draws * len(rows) - sum(map(len, expected))
    for form, beyond in ((wide, 0), (long, (3 - draws) * len(rows))):
        imported = read(form(rows), *names, draws=draws)
        assert imported.draws == expected
        assert imported.counts == {"missing": missing, "beyond_draws": beyond, "duplicate_rows": 0}
        taken = [prompt(name) for name in names]
        counts = reward_counts(imported_rewards(taken, imported))
        scored = sum(draw.reward is not None for row in expected for draw in row)
        assert counts["responses"] == sum(map(len, expected)) and counts["scored"] == scored
        assert counts["invalid"] == (
            {"no_reward": counts["responses"] - scored} if counts["responses"] > scored else {}
        )


def test_in_wide_form_the_first_row_of_a_duplicate_prompt_counts() -> None:
    rows: list[tuple[str, list[Cell]]] = [("a", [("first", 1.0)]), (" a", [("second", 2.0)]), ("b", [("b", 3.0)])]
    imported = read(wide(rows), "b", "a", draws=1)
    assert imported.counts["duplicate_rows"] == 1
    assert [draw.response for draws in imported.draws for draw in draws] == ["b", "first"]
    assert read(wide([("a", [(None, None)]), ("a", [("second", 2.0)])]), "a", draws=1).draws == [[]]


def test_another_column_and_rows_without_a_prompt() -> None:
    columns: dict[str, list[Any]] = {"question": [None, "a"], "prompt": ["a", "b"], "response": ["no", "yes"]}
    columns["reward"] = [1.0, 2.0]
    assert read(columns, "a", column="question").draws == [[ImportedDraw(0, "yes", 2.0)]]
    columns["prompt"] = [7, 8]  # a column that is not asked for may hold anything
    assert read(columns, "a", column="question").draws == [[ImportedDraw(0, "yes", 2.0)]]
    with pytest.raises(UserError, match="no responses to 1 of 1 prompts"):
        read(columns, "a")


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf, 1e39, "0.5", True, [1.0]])
def test_rewards_that_are_not_finite_numbers_are_named(reward: object) -> None:
    shown = re.escape(repr(reward))
    data: dict[str, list[Any]] = {
        "prompt": ["b", "a"],
        "response_0": ["x", "x"],
        "response_1": ["y", "y"],
        "response_0_reward": [1.0, 2.0],
    }
    with pytest.raises(UserError, match=rf"^data\.jsonl: 1 values .*\n  row 1, column 'response_1_reward': {shown}"):
        read({**data, "response_1_reward": [None, reward]}, "a")
    one_each: dict[str, list[Any]] = {"prompt": ["a", "a"], "response": ["x", "y"]}
    with pytest.raises(UserError, match=rf"row 1, column 'reward': {shown} is not a finite .*\nFix these rows; use"):
        read({**one_each, "reward": [None, reward]}, "a")
    assert len(read({**one_each, "reward": [None, reward]}, "a", rewards=False).draws[0]) == 2
    assert len(read({**one_each, "reward": [None, reward]}, "a", draws=1).draws[0]) == 1


@pytest.mark.parametrize("response", [3, 0.5, ["text"], {"role": "assistant"}])
def test_responses_that_are_not_text_are_named(response: Any) -> None:
    expected = rf"row 1, column 'response': {re.escape(repr(response))} is not text"
    with pytest.raises(UserError, match=expected):
        read({"prompt": ["a", "b"], "response": [None, response]}, "b", rewards=False)


def test_all_wrong_values_are_counted_and_some_are_shown() -> None:
    with pytest.raises(UserError) as error:
        read({"prompt": ["a"] * 9, "response": ["x"] * 9, "reward": [math.nan] * 9}, "a", draws=8)
    assert "data.jsonl: 8 values cannot be used" in str(error.value)
    assert re.findall(r"row (\d)", str(error.value)) == [str(row) for row in range(SHOWN_ROWS)]


@pytest.mark.parametrize(
    ("columns", "key", "missing"),
    [
        (
            {"text": ["a"], "response": ["x"], "reward": [1.0]},
            "column",
            "'prompt'; there are 'text', 'response', 'reward'",
        ),
        (
            {"prompt": ["a"], "answer": ["x"], "reward": [1.0]},
            "dataset",
            "'response'; there are 'prompt', 'answer', 'reward'",
        ),
        ({"prompt": ["a"], "response": ["x"]}, "rewards", "'reward'; there are 'prompt', 'response'.*`false`"),
        (
            {"prompt": ["a"], "response_0": ["x"], "response_0_reward": [1.0], "response_1": ["y"]},
            "rewards",
            "'response_1_reward'; there are .*`false`",
        ),
    ],
)
def test_missing_columns(columns: dict[str, list[Any]], key: str, missing: str) -> None:
    """Each with the key to set."""
    with pytest.raises(UserError, match=rf"^responses\.imported\.{key}: data\.jsonl: there is no column {missing}"):
        read(columns, "a")


def test_fewer_columns_of_responses_than_draws() -> None:
    expected = r"^responses\.draws: data\.jsonl: there is no column 'response_2'.*set `responses\.draws: 2`"
    with pytest.raises(UserError, match=expected):
        read({"prompt": ["a"], "response_0": ["x"], "response_1": ["y"]}, "a", draws=3, rewards=False)


def test_prompts_without_responses_are_named() -> None:
    expected = rf"^data\.jsonl: no responses to 2 of 3 prompts; the first is {prompt('b')['prompt_id']}: 'b'\. Add rows"
    with pytest.raises(UserError, match=expected):
        read({"prompt": ["a", "B"], "response": ["x", "y"], "reward": [1.0, 2.0]}, "a", "b", "c")


def test_rows_of_a_prompt_are_its_draws() -> None:
    imported = Imported(
        [[ImportedDraw(0, "x", 1.0), ImportedDraw(2, "y <|eot_id|>", None)], [ImportedDraw(1, "z", 2.0)]]
    )
    prompts = [prompt("a"), prompt("b")]
    rows = list(imported_rows(prompts, imported, TOKENIZER, 100))
    keys = [(prompts[0]["prompt_id"], 0), (prompts[0]["prompt_id"], 2), (prompts[1]["prompt_id"], 1)]
    assert [(row["prompt_id"], row["draw"]) for row in rows] == keys
    assert [row["response"] for row in rows] == ["x", "y <|eot_id|>", "z"]
    assert all(row["response_token_ids"] == encode_response(TOKENIZER, row["response"]) for row in rows)
    assert {row["seed"] for row in rows} == {0} and {row["finish_reason"] for row in rows} == {"stop"}
    rewards = imported_rewards(prompts, imported)
    assert [(row["prompt_id"], row["draw"], row["reward"], row["invalid"]) for row in rewards] == [
        (*keys[0], 1.0, None),
        (*keys[1], None, "no_reward"),
        (*keys[2], 2.0, None),
    ]


def test_only_missing_responses_make_an_empty_artifact(tmp_path: Path) -> None:
    imported = read({"prompt": ["a"], "response": [None], "reward": [None]}, "a")
    rows = list(imported_rows([prompt("a")], imported, TOKENIZER, 9))
    assert len(RESPONSES.write(tmp_path / "responses.parquet", rows, {})) == 0
    assert len(REWARDS.write(tmp_path / "rewards.parquet", imported_rewards([prompt("a")], imported), {})) == 0


@given(text=st.text(min_size=1, max_size=40), max_tokens=st.integers(1, 40))
@settings(deadline=None)
def test_a_truncated_response_has_no_end_of_turn(text: str, max_tokens: int) -> None:
    (row,) = imported_rows([prompt("a")], Imported([[ImportedDraw(0, text, None)]]), TOKENIZER, max_tokens)
    whole = encode_response(TOKENIZER, text)
    end = end_of_turn_id(TOKENIZER)
    if len(whole) <= max_tokens:
        assert (row["finish_reason"], row["response_token_ids"], row["response"]) == ("stop", whole, text)
    else:
        assert row["finish_reason"] == "length"
        assert row["response_token_ids"] == whole[:max_tokens] and end not in row["response_token_ids"]
        assert row["response"] == TOKENIZER.decode(whole[:max_tokens], clean_up_tokenization_spaces=False)
