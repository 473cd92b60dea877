"""Responses that the user brings."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.chat import encode_response, end_of_turn_id
from rlhf.errors import UserError
from rlhf.imported_responses import check_responses, imported_rows, match_rows, response_columns
from rlhf.prompts import normalise_prompt, prompt_id
from small_tokenizers import small_tokenizer

TOKENIZER = small_tokenizer()


def prompt(text: str) -> dict[str, str]:
    return {"prompt_id": prompt_id(normalise_prompt(text)), "prompt": normalise_prompt(text)}


def test_columns_are_numbered_by_draw() -> None:
    assert response_columns(3) == ["response_0", "response_1", "response_2"]


def test_rows_are_matched_by_the_normalised_text_and_the_first_one_counts() -> None:
    texts = [None, "other", " b\r\nc ", "a", "b\nc", 7]
    assert match_rows(texts, [prompt("a"), prompt("b\nc")], "data.jsonl") == [3, 2]


def test_prompts_without_responses_are_named() -> None:
    expected = rf"data\.jsonl: no responses to 2 of 3 prompts; the first is {prompt('b')['prompt_id']}: 'b'"
    with pytest.raises(UserError, match=expected):
        match_rows(["a"], [prompt("a"), prompt("b"), prompt("c")], "data.jsonl")


def test_missing_responses_are_named_with_their_rows() -> None:
    check_responses({"response_0": ["x"], "response_1": ["y"]}, [4], "data.jsonl")
    with pytest.raises(UserError) as error:
        check_responses({"response_0": ["x", None], "response_1": [" ", 3]}, [4, 9], "data.jsonl")
    assert "data.jsonl: 3 responses are missing" in str(error.value)
    for line in (
        "row 9, column 'response_0': it is None",
        "row 4, column 'response_1': it is empty",
        "row 9, column 'response_1': it is 3",
    ):
        assert re.search(rf"^  {re.escape(line)}$", str(error.value), re.MULTILINE)


def test_rows_of_a_prompt_are_its_draws() -> None:
    rows = list(imported_rows([prompt("a"), prompt("b")], [("x", "y <|eot_id|>"), ("z", "w")], TOKENIZER, 100))
    assert [(row["prompt_id"], row["draw"], row["response"]) for row in rows] == [
        (prompt("a")["prompt_id"], 0, "x"),
        (prompt("a")["prompt_id"], 1, "y <|eot_id|>"),
        (prompt("b")["prompt_id"], 0, "z"),
        (prompt("b")["prompt_id"], 1, "w"),
    ]
    assert all(row["response_token_ids"] == encode_response(TOKENIZER, row["response"]) for row in rows)
    assert {row["seed"] for row in rows} == {0} and {row["finish_reason"] for row in rows} == {"stop"}


@given(text=st.text(min_size=1, max_size=40), max_tokens=st.integers(1, 40))
@settings(deadline=None)
def test_what_is_cut_has_no_end_of_turn(text: str, max_tokens: int) -> None:
    (row,) = imported_rows([prompt("a")], [(text,)], TOKENIZER, max_tokens)
    whole = encode_response(TOKENIZER, text)
    end = end_of_turn_id(TOKENIZER)
    if len(whole) <= max_tokens:
        assert (row["finish_reason"], row["response_token_ids"], row["response"]) == ("stop", whole, text)
    else:
        assert row["finish_reason"] == "length"
        assert row["response_token_ids"] == whole[:max_tokens] and end not in row["response_token_ids"]
        assert row["response"] == TOKENIZER.decode(whole[:max_tokens], clean_up_tokenization_spaces=False)
