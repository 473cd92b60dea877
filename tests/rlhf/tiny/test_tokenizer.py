"""The tiny tokenizer does what Llama 3's does: split pattern, special tokens, template, and any text comes back."""

import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from rlhf.tiny.corpus import Style, compose
from rlhf.tiny.language.tasks import tasks
from rlhf.tiny.tokenizer import END_OF_TURN, train_tokenizer
from rlhf.tokens.chat import turn_change_ids

CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " What is 2 plus 13?\n"},
    {"role": "assistant", "content": "It is 15."},
    {"role": "user", "content": "Thanks!"},
]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(1536, seed=1)


def test_the_template_writes_what_llama_3_writes(
    tokenizer: PreTrainedTokenizerBase, llama3_tokenizer: PreTrainedTokenizerBase
) -> None:
    for ready in (True, False):
        ours, theirs = (
            made.apply_chat_template(CONVERSATION, add_generation_prompt=ready, tokenize=False)
            for made in (tokenizer, llama3_tokenizer)
        )
        assert ours == theirs


def test_text_is_split_where_llama_3_splits_it(
    tokenizer: PreTrainedTokenizerBase, llama3_tokenizer: PreTrainedTokenizerBase
) -> None:
    text = "It's 12345, isn't it?\n\n  Yes: naïve café -- OK!! \t x"
    ours, theirs = (
        made.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text) for made in (tokenizer, llama3_tokenizer)
    )
    assert ours == theirs


@pytest.mark.parametrize("size", [320, 1536])
def test_the_turn_changes_as_in_llama_3(size: int) -> None:
    made = train_tokenizer(size, seed=2)
    ids: Any = made.apply_chat_template(CONVERSATION[1:2], add_generation_prompt=True, return_dict=False)
    header = [END_OF_TURN, "<|start_header_id|>", "assistant", "<|end_header_id|>", "ĊĊ"]
    assert made.convert_ids_to_tokens(turn_change_ids(made)) == header
    assert len(made) <= size
    assert ids.count(made.bos_token_id) == 1


def test_words_of_the_answers_are_one_token_each(tokenizer: PreTrainedTokenizerBase) -> None:
    for word in ("green", "Europe", "fruit", "four", "Monday", "winter", "7"):
        ids = tokenizer(f"It is {word}.", add_special_tokens=False)["input_ids"]
        assert tokenizer.convert_ids_to_tokens(ids)[-2:] in ([f"Ġ{word}", "."], [word, "."])


def test_marks_around_thoughts_are_tokens_where_the_policy_thinks(tokenizer: PreTrainedTokenizerBase) -> None:
    thinking = train_tokenizer(1536, seed=1, thoughts=True)
    response = compose(next(iter(tasks().values())), Style(correct=1.0, thinking=1.0), random.Random(1))
    ids = thinking(f"{response}{END_OF_TURN}", add_special_tokens=False)["input_ids"]
    pieces = thinking.convert_ids_to_tokens(ids)
    assert (pieces[0], pieces.count("</think>")) == ("<think>", 1)
    assert thinking.decode(ids, skip_special_tokens=True) == response
    assert len(thinking) <= 1536
    assert not {"<think>", "</think>"} & set(tokenizer.get_vocab())


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_comes_back(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    if not re.search(r"<\|.*\|>", text):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text


def test_it_is_saved_and_loaded_as_any_tokenizer(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = tokenizer.apply_chat_template(CONVERSATION, tokenize=False)
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert (loaded.eos_token, loaded.bos_token) == (END_OF_TURN, "<|begin_of_text|>")
    assert loaded.chat_template == tokenizer.chat_template
