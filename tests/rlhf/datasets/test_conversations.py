"""What values of a column are prompts, and what comes behind them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.datasets.conversations import Example, NoPromptError, normalise_prompt, read_example

TEXTS = st.text(min_size=1, max_size=12).filter(lambda text: bool(normalise_prompt(text)))


def turn(role: str, content: object) -> dict[str, object]:
    return {"role": role, "content": content}


def shared(role: str, value: object) -> dict[str, object]:
    return {"from": role, "value": value}


@pytest.mark.parametrize(
    ("value", "messages", "answer"),
    [
        (" Hi\r\nthere ", [("user", "Hi\nthere")], None),
        ([turn("user", " Hi ")], [("user", "Hi")], None),
        ([turn("user", "Hi"), turn("assistant", " Yes. ")], [("user", "Hi")], " Yes. "),
        (
            [turn("system", "Be brief."), turn("user", "a"), turn("assistant", "b "), turn("user", "c")],
            [("system", "Be brief."), ("user", "a"), ("assistant", "b"), ("user", "c")],
            None,
        ),
        ([turn("system", " "), turn("user", "a"), turn("assistant", "b")], [("user", "a")], "b"),
        ([turn("user", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])], [("user", "ab")], None),
    ],
)
def test_the_prompt_is_all_up_to_the_last_user_turn(
    value: object, messages: list[tuple[str, str]], answer: str | None
) -> None:
    assert read_example(value, "role_content") == Example(tuple(messages), answer)


def test_sharegpt_has_other_keys_and_roles() -> None:
    value = [shared("system", "s"), shared("human", "a"), shared("gpt", "b"), shared("human", "c"), shared("gpt", "d")]
    expected = (("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"))
    assert read_example(value, "from_value") == Example(expected, "d")
    with pytest.raises(NoPromptError, match="not_a_chat"):
        read_example(value, "role_content")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "not_text"),
        (3, "not_text"),
        ({"role": "user", "content": "a"}, "not_text"),
        (b"a", "not_text"),
        ([], "not_text"),
        (["a"], "not_text"),
        ([turn("user", None)], "not_text"),
        ([turn("user", 3)], "not_text"),
        ([turn("user", [{"type": "image", "url": "a"}])], "not_text"),
        (" \r\n", "empty"),
        ([turn("user", " ")], "empty"),
        ([turn("user", "a"), turn("assistant", "b"), turn("user", "")], "empty"),
        ([turn("system", "a")], "not_a_chat"),
        ([turn("assistant", "a"), turn("user", "b")], "not_a_chat"),
        ([turn("user", "a"), turn("user", "b")], "not_a_chat"),
        ([turn("user", "a"), turn("system", "b")], "not_a_chat"),
        ([turn("user", "a"), turn("tool", "b")], "not_a_chat"),
        ([turn("User", "a")], "not_a_chat"),
    ],
)
def test_what_is_no_prompt_says_why(value: object, reason: str) -> None:
    with pytest.raises(NoPromptError) as error:
        read_example(value, "role_content")
    assert str(error.value) == reason


@given(texts=st.lists(TEXTS, min_size=1, max_size=7), system=st.none() | TEXTS)
def test_any_alternation_is_read_back(texts: list[str], system: str | None) -> None:
    roles = [("user", "assistant")[number % 2] for number in range(len(texts))]
    value: list[Any] = [turn(role, text) for role, text in zip(roles, texts, strict=True)]
    before = [] if system is None else [turn("system", system)]
    found = read_example([*before, *value], "role_content")
    asked = texts if len(texts) % 2 else texts[:-1]
    assert [text for role, text in found.messages if role != "system"] == list(map(normalise_prompt, asked))
    assert found.answer == (None if len(texts) % 2 else texts[-1])
    assert (found.messages[0][0] == "system") == (system is not None)
    assert found.text == normalise_prompt(asked[-1])
