"""Conversations as prompts: what they are, which are the same, and what they keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from collecting import collected_prompts
from rlhf.base.errors import UserError
from rlhf.base.names import Rows
from rlhf.datasets.conversations import Messages
from rlhf.prompts.collection import Collection
from rlhf.prompts.schema import CHATS, PROMPTS, Prompt, conversation_id, prompt_id, read_part, read_prompts
from rlhf.tokens.chat import encode_messages
from small_tokenizers import CHATML, small_tokenizer

TOKENIZER = small_tokenizer()
OPTIONS = CHATML + "{% if add_generation_prompt and not thinks %}{{ '<think></think>' }}{% endif %}"


def chat(*texts: str, system: str | None = None) -> list[dict[str, str]]:
    before = [] if system is None else [{"role": "system", "content": system}]
    return [*before, *({"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts))]


def rows(collection: Collection) -> list[dict[str, Any]]:
    return pa.concat_tables(collection.kept.tables()).to_pylist()


def test_a_single_turn_is_the_same_prompt_in_every_form() -> None:
    (text,) = rows(collected_prompts(["what is this?"], TOKENIZER))
    (single,) = rows(collected_prompts([chat(" what is this?\r\n", "x")], TOKENIZER, CHATS))
    assert {name: single[name] for name in PROMPTS.schema.names} == text
    assert text["prompt_id"] == prompt_id("what is this?")
    assert single["messages"] == chat("what is this?") and single["kept"] == "{}"


def test_conversations_are_the_same_if_all_their_turns_are() -> None:
    one, other = chat("a", "b", "c"), chat("a", "B", "c")
    values = [
        one,
        chat(" A", "b", "C "),
        other,
        chat("a", "x", "c"),
        chat("c"),
        "c",
        chat("c", system="s"),
        chat("c", "y"),
    ]
    collection = collected_prompts(values, TOKENIZER, CHATS)
    found = [row["messages"] for row in rows(collection)]
    assert sorted(found, key=str) == sorted([one, chat("a", "x", "c"), chat("c"), chat("c", system="s")], key=str)
    assert collection.dropped["duplicate"] == 4
    assert len({row["prompt_id"] for row in rows(collection)}) == 4


def test_the_id_of_a_conversation_is_of_its_turns_and_options() -> None:
    messages: Messages = (("user", "a"), ("assistant", "b"), ("user", "c"))
    expected = prompt_id('{"messages":[["user","a"],["assistant","b"],["user","c"]]}')
    assert conversation_id(messages) == expected
    assert conversation_id(messages[2:]) == prompt_id("c")
    assert conversation_id(messages[2:], {"thinks": False}) == prompt_id(
        '{"messages":[["user","c"]],"template":{"thinks":false}}'
    )


def test_each_reason_is_counted() -> None:
    values = [chat("a", "b"), chat("", "b"), chat(*"abcd")[1:], None, chat("word " * 60), [{"role": "user"}], chat("A")]
    collection = collected_prompts(values, TOKENIZER, CHATS)
    assert collection.dropped == {
        "not_text": 2,
        "empty": 1,
        "duplicate": 1,
        "too_long": 1,
        "not_a_chat": 1,
        "refused_by_template": 0,
    }
    assert collection.counts["rows"] == 7 and collection.counts["prompts"] == 1


def test_a_template_may_refuse_some_conversations_but_not_all_texts() -> None:
    tokenizer = small_tokenizer("instruct")  # it has no system turns
    collection = collected_prompts([chat("a", system="s"), chat("b")], tokenizer, CHATS)
    assert collection.dropped["refused_by_template"] == 1 and len(rows(collection)) == 1
    with pytest.raises(UserError, match=r"row 0 of the dataset: .*refuses a conversation of system, user"):
        collected_prompts(["a"], tokenizer, CHATS, system="s")


def test_the_experiments_system_prompt_is_for_prompts_without_one() -> None:
    made = rows(collected_prompts([chat("a"), chat("b", system="Own."), "c"], TOKENIZER, CHATS, system="Be brief."))
    found = {row["prompt"]: row for row in made}
    assert {text: row["messages"][0]["content"] for text, row in found.items()} == {
        "a": "Be brief.",
        "b": "Own.",
        "c": "Be brief.",
    }
    assert found["a"]["prompt_id"] == prompt_id("a")  # it is the same for all prompts
    for row in made:
        messages = [(turn["role"], turn["content"]) for turn in row["messages"]]
        assert row["prompt_token_ids"] == encode_messages(TOKENIZER, messages)


def test_options_of_the_template_change_prompts_and_their_ids() -> None:
    tokenizer = small_tokenizer("chatml", OPTIONS)
    (plain,) = rows(collected_prompts(["a"], tokenizer))
    (thinking,) = rows(collected_prompts(["a"], tokenizer, template={"thinks": True}))
    assert tokenizer.decode(plain["prompt_token_ids"]).endswith("<think></think>")
    assert plain["prompt_token_ids"][: len(thinking["prompt_token_ids"])] == thinking["prompt_token_ids"]
    assert plain["prompt_id"] == prompt_id("a") != thinking["prompt_id"]


def test_kept_columns_are_json() -> None:
    values = [
        {"prompt": chat("a"), "answer": 4, "tests": [{"in": "1", "out": None}], "other": 1},
        {"prompt": chat("b"), "answer": None, "tests": "é", "other": 2},
        {"prompt": chat("A"), "answer": 5, "tests": "of a duplicate", "other": 3},
    ]
    found = rows(collected_prompts(values, TOKENIZER, CHATS, keep=["tests", "answer"]))
    assert {row["prompt"]: json.loads(row["kept"]) for row in found} == {
        "a": {"answer": 4, "tests": [{"in": "1", "out": None}]},
        "b": {"answer": None, "tests": "é"},
    }


@pytest.mark.parametrize("value", [float("nan"), b"bytes", {1, 2}])
def test_a_kept_value_that_is_not_json_names_its_row_and_column(value: object) -> None:
    rows_of_dataset = [{"prompt": "a", "answer": 1}, {"prompt": "b", "answer": value}]
    with pytest.raises(UserError, match=r"row 1 of the dataset: prompts.keep: the column 'answer' holds"):
        collected_prompts(rows_of_dataset, TOKENIZER, CHATS, keep=["answer"])


def test_both_forms_of_the_file_are_read_back(tmp_path: Path) -> None:
    values = [chat("a", "b", "c", system="s"), chat("d")]
    chats, texts = tmp_path / "chats.parquet", tmp_path / "texts.parquet"
    CHATS.write_tables(
        chats, collected_prompts(values, TOKENIZER, CHATS, max_tokens=200).kept.tables(), {"chats": True}
    )
    PROMPTS.write_tables(texts, collected_prompts(["d", "e"], TOKENIZER).kept.tables(), {})
    expected: list[Messages] = [
        (("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c")),
        (("user", "d"),),
    ]
    found = read_prompts(chats, Rows(start=0, stop=2))
    assert sorted(prompt.messages for prompt in found) == sorted(expected)
    assert all(prompt.prompt_id == conversation_id(prompt.messages) for prompt in found)
    assert set(read_prompts(texts, Rows(start=-2, stop=0))) == {
        Prompt(prompt_id(text), (("user", text),), "{}") for text in ("d", "e")
    }
    assert read_part(chats, Rows(start=1, stop=2), ["prompt_id"]).num_rows == 1
