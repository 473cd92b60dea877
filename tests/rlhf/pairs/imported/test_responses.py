"""The response that a cell holds."""

from typing import Any

import pytest

from rlhf.pairs.imported.responses import Encoder, NoResponseError, read_response
from rlhf.tokens.chat import encode_response
from small_tokenizers import small_tokenizer

PROMPT = (("user", "a?"), ("assistant", "b"), ("user", "c?"))
TOKENIZER = small_tokenizer()


def turns(*pairs: tuple[str, Any], names: tuple[str, str] = ("role", "content")) -> list[dict[str, Any]]:
    return [dict(zip(names, pair, strict=True)) for pair in pairs]


@pytest.mark.parametrize(
    "value",
    [
        "yes",
        turns(("assistant", "yes")),
        turns(*PROMPT, ("assistant", "yes")),
        turns(("system", "be brief"), *PROMPT, ("assistant", "yes")),
        turns(("user", " a?\r\n"), ("assistant", "b "), ("user", "c?"), ("assistant", "yes")),
    ],
)
@pytest.mark.parametrize("system", [(), (("system", "be long"),)])
def test_forms_of_one_response(value: object, system: tuple[tuple[str, str], ...]) -> None:
    assert read_response(value, (*system, *PROMPT), "role_content") == "yes"


def test_sharegpt() -> None:
    names = ("from", "value")
    alone = turns(("gpt", "yes"), names=names)
    whole = turns(("human", "a?"), ("gpt", "b"), ("human", "c?"), ("gpt", "yes"), names=names)
    assert [read_response(value, PROMPT, "from_value") for value in (alone, whole)] == ["yes", "yes"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "missing"),
        (" \n", "missing"),
        (turns(("assistant", "")), "missing"),
        (turns(("assistant", None)), "missing"),
        (turns(*PROMPT), "missing"),
        (turns(*PROMPT, ("assistant", " ")), "missing"),
        (turns(("user", "a?"), ("assistant", "yes")), "other_prompt"),
        (turns(("user", "c?"), ("assistant", "yes")), "other_prompt"),
    ],
)
def test_cells_without_a_response(value: object, reason: str) -> None:
    with pytest.raises(NoResponseError, match=f"^{reason}$"):
        read_response(value, PROMPT, "role_content")


@pytest.mark.parametrize(
    "value", [3, True, [], {"role": "assistant"}, ["yes"], turns(("user", "a?")), turns(("tool", "x"), ("user", "y"))]
)
def test_cells_that_are_something_else(value: object) -> None:
    with pytest.raises(TypeError):
        read_response(value, PROMPT, "role_content")


def test_stored_tokens_are_kept_if_they_are_of_this_tokenizer() -> None:
    encoder = Encoder(TOKENIZER)
    usual = encode_response(TOKENIZER, "hello")
    letters = [*TOKENIZER.convert_tokens_to_ids(list("hello")), usual[-1]]
    assert letters != usual, "another way to write the same text"
    found = encoder.stored(letters, "hello", [1])
    assert not found.encoded_again and found.token_ids.tolist() == letters
    for other in ([], [10**6], [*letters[1:]]):
        found = encoder.stored(other, "hello", [1])
        assert found.encoded_again and found.token_ids.tolist() == usual


def test_outer_white_space_is_what_the_template_makes_of_it() -> None:
    assert Encoder(TOKENIZER).encode(" \nyes\n", [1]).text == "yes"
    tokenizer = small_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}<|start_header_id|>{{ m.content }}<|eot_id|>{% endfor %}"
    found = Encoder(tokenizer).encode(" \nyes\n", [1])
    assert found.text == " \nyes\n" and found.token_ids.tolist() == encode_response(tokenizer, " \nyes\n")
