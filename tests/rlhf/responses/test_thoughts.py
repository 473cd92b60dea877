"""What is visible of responses with thoughts, whatever tokens the marks are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from rlhf.base.errors import UserError
from rlhf.responses.hiding import HideSettings
from rlhf.responses.thoughts import Thoughts, Visible, visible_text
from rlhf.tokens.chat import encode_messages
from rlhf.tokens.special_tokens import token_ids
from small_tokenizers import merging_tokenizer, small_tokenizer

OPEN, CLOSE = "<think>", "</think>"
HIDE = HideSettings(open=OPEN, close=CLOSE)


def with_marks(*, special: bool) -> PreTrainedTokenizerBase:
    """As Qwen3's tokenizer has them, or as special tokens."""
    tokenizer = small_tokenizer()
    marks = [AddedToken(mark, special=special, normalized=False) for mark in (OPEN, CLOSE)]
    tokenizer.add_tokens(marks, special_tokens=special)
    return tokenizer


MERGED = f"{CLOSE}\n\nThe"
"""One token of the tokenizer `merged`."""
TOKENIZERS = {
    "spelled": small_tokenizer(),
    "merged": merging_tokenizer([MERGED, f"{OPEN}\n", "quick"]),
    "added": with_marks(special=False),
    "special": with_marks(special=True),
}
texts = st.text("ab <.\né", max_size=8)
said = st.integers(0, 3).flatmap(
    lambda count: st.tuples(
        st.lists(texts, min_size=count + 1, max_size=count + 1), st.lists(texts, min_size=count, max_size=count)
    )
)
"""What is said before, between and after thoughts, and the thoughts."""


def written(outside: list[str], thoughts: list[str]) -> tuple[str, str]:
    """The whole text, and what is visible of it."""
    whole = outside[0] + "".join(f"{OPEN}{t}{CLOSE}{s}" for t, s in zip(thoughts, outside[1:], strict=True))
    return whole, outside[0] + "".join(text.lstrip() for text in outside[1:])


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    return TOKENIZERS[request.param]


def prompt_of(tokenizer: PreTrainedTokenizerBase, tail: str = "") -> list[int]:
    """A prompt whose text speaks of the marks, and whose template ends with `tail`."""
    messages = [{"role": "user", "content": f"what does {CLOSE} mean? {OPEN}"}]
    template = f"{tokenizer.get_chat_template()}{{{{ {tail!r} }}}}" if tail else None
    ids: Any = tokenizer.apply_chat_template(
        messages, chat_template=template, add_generation_prompt=True, return_dict=False
    )
    return list(ids)


def visible_of(thoughts: Thoughts, ids: list[int], *, opened: bool) -> Visible:
    return thoughts.visible(ids, thoughts.decode(ids), opened=opened)


def test_the_tokenizers_differ_in_what_a_mark_is() -> None:
    assert [len(token_ids(TOKENIZERS[name], CLOSE)) for name in ("added", "special")] == [1, 1]
    assert len(token_ids(TOKENIZERS["spelled"], CLOSE)) > 1
    assert len(token_ids(TOKENIZERS["merged"], MERGED)) == 1
    assert OPEN not in TOKENIZERS["special"].decode(token_ids(TOKENIZERS["special"], OPEN), skip_special_tokens=True)


@settings(deadline=None, max_examples=200)
@given(said, st.sampled_from(sorted(TOKENIZERS)))
def test_what_lies_outside_of_thoughts_is_visible(found: tuple[list[str], list[str]], name: str) -> None:
    whole, visible = written(*found)
    tokenizer = TOKENIZERS[name]
    thoughts, prompt = Thoughts(tokenizer, HIDE), prompt_of(tokenizer)
    ids = thoughts.encode(prompt, whole)
    tokens = len(token_ids(tokenizer, visible)) + 1
    assert visible_of(thoughts, ids, opened=thoughts.is_opened(prompt)) == Visible(visible, tokens, unfinished=False)
    assert ids[-1] == tokenizer.eos_token_id


@settings(deadline=None, max_examples=200)
@given(said, texts, st.sampled_from(sorted(TOKENIZERS)))
def test_a_thought_without_end_is_unfinished(found: tuple[list[str], list[str]], last: str, name: str) -> None:
    """Whether the length limit cut it, or the model ended its turn in the middle of it."""
    whole, visible = written(*found)
    thoughts = Thoughts(TOKENIZERS[name], HIDE)
    ended = thoughts.encode(prompt_of(TOKENIZERS[name]), f"{whole}{OPEN}{last}")
    for ids, end in ((ended, 1), (ended[:-1], 0)):
        tokens = len(token_ids(TOKENIZERS[name], visible)) + end
        assert visible_of(thoughts, ids, opened=False) == Visible(visible, tokens, unfinished=True)


@settings(deadline=None, max_examples=200)
@given(said, texts, st.sampled_from(sorted(TOKENIZERS)))
def test_the_prompt_may_open_the_first_thought(found: tuple[list[str], list[str]], first: str, name: str) -> None:
    """As the templates of DeepSeek-R1 and Qwen3's thinking models do. A response from elsewhere may open it, too."""
    whole, _ = written(*found)
    visible = written(["", *found[0]], [first, *found[1]])[1]
    tokenizer = TOKENIZERS[name]
    thoughts, prompt = Thoughts(tokenizer, HIDE), prompt_of(tokenizer, f"{OPEN}\n")
    assert thoughts.is_opened(prompt)
    ids = thoughts.encode(prompt, f"{first}{CLOSE}{whole}")
    assert visible_of(thoughts, ids, opened=True).text == visible
    assert thoughts.encode(prompt, f"{OPEN}\n{first}{CLOSE}{whole}") == ids
    assert (
        thoughts.encode(prompt, f"{OPEN}{first.lstrip()}{CLOSE}")[:-1]
        == thoughts.encode(prompt, f"{first.lstrip()}{CLOSE}")[:-1]
    )
    silent = thoughts.encode(prompt, first)
    assert visible_of(thoughts, silent, opened=True) == Visible("", 1, unfinished=True)


def test_a_thought_that_the_prompt_closes_again_is_over(tokenizer: PreTrainedTokenizerBase) -> None:
    """As Qwen3's template does with `enable_thinking: false`. What a user writes opens nothing."""
    thoughts = Thoughts(tokenizer, HIDE)
    for tail in ("", f"{OPEN}\n\n{CLOSE}\n\n"):
        assert not thoughts.is_opened(prompt_of(tokenizer, tail))
    ids = thoughts.encode(prompt_of(tokenizer), "the quick fox")
    assert visible_of(thoughts, ids, opened=False) == Visible("the quick fox", len(ids), unfinished=False)


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        (f"a thought{CLOSE}\n\nsaid", "said"),
        (f"said {OPEN}a{CLOSE} more {CLOSE} last", "last"),
        (f"{OPEN}a {OPEN}b{CLOSE} c {CLOSE} said", "said"),
        (f"{OPEN}it ends with {CLOSE}.\n{CLOSE}\n\nsaid", "said"),
        (CLOSE, ""),
        (f"{OPEN}{CLOSE}", ""),
        ("<thinking> said", "<thinking> said"),
    ],
)
def test_a_mark_that_ends_no_thought_hides_all_before_it(text: str, visible: str) -> None:
    """The other mark was in the prompt, or in the thought itself."""
    assert visible_text(text, HIDE) == (visible, False)


def test_tokens_are_those_after_the_thought() -> None:
    tokenizer = TOKENIZERS["added"]
    thought, answer = (token_ids(tokenizer, text) for text in (f"{OPEN}\nthe fox\n{CLOSE}\n\n", "the lazy dog"))
    found = visible_of(Thoughts(tokenizer, HIDE), [*thought, *answer, tokenizer.eos_token_id], opened=False)
    assert found == Visible("the lazy dog", len(answer) + 1, unfinished=False)


def test_rows_are_cut_where_a_thought_is_unfinished() -> None:
    tokenizer = TOKENIZERS["added"]
    thoughts = Thoughts(tokenizer, HIDE)
    prompts = {"plain": prompt_of(tokenizer), "opened": prompt_of(tokenizer, f"{OPEN}\n")}
    said = {"plain": [f"{OPEN}a{CLOSE} b", "b", f"b {OPEN}a"], "opened": [f"a{CLOSE}\nb", "a", f"a{CLOSE}"]}
    rows = [
        {"prompt_id": name, "draw": draw, "response_token_ids": [*token_ids(tokenizer, text), tokenizer.eos_token_id]}
        for name, drawn in said.items()
        for draw, text in enumerate(drawn)
    ]
    rows = [{**row, "response": thoughts.decode(row["response_token_ids"]), "finish_reason": "stop"} for row in rows]
    rows[0]["finish_reason"] = "length"  # cut after its thought
    found = thoughts.hidden(rows, prompts)
    assert [row["response"] for row in found.rows] == ["b", "b", "b ", "b", "", ""]
    assert [row["finish_reason"] for row in found.rows] == ["length", "stop", "length", "stop", "length", "stop"]
    assert [row["response_token_ids"] for row in found.rows] == [row["response_token_ids"] for row in rows]
    assert found.counts == {"responses": 6, "truncated": 3, "unfinished_thoughts": 2}


def test_a_mark_with_special_tokens_in_it_is_refused() -> None:
    marks = {"open": f"<|eot_id|>{OPEN}", "close": CLOSE}
    with pytest.raises(UserError, match=r"responses\.hide\.open: it is '<\|eot_id\|><think>'; a mark is one special"):
        Thoughts(small_tokenizer(), HideSettings(**marks))


def test_qwen_3_opens_and_closes_a_thought_where_thinking_is_off(real_tokenizers: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(real_tokenizers / "qwen3")
    thoughts = Thoughts(tokenizer, HIDE)
    question = [("user", f"what does {OPEN} mean?")]
    for options in ({}, {"enable_thinking": False}):
        prompt = encode_messages(tokenizer, question, options)
        assert not thoughts.is_opened(prompt)
        ids = thoughts.encode(prompt, f"{OPEN}\nHm.\n{CLOSE}\n\nA tag.")
        assert ids == tokenizer(f"{OPEN}\nHm.\n{CLOSE}\n\nA tag.<|im_end|>")["input_ids"]
        assert visible_of(thoughts, ids, opened=False) == Visible("A tag.", 4, unfinished=False)
    assert tokenizer.decode(prompt).endswith(f"{OPEN}\n\n{CLOSE}\n\n")
    assert thoughts.is_opened([*prompt[:-4], *token_ids(tokenizer, f"{OPEN}\n")])  # as the thinking models' template


def test_llama_3_merges_the_mark_with_what_follows(llama3_tokenizer: PreTrainedTokenizerBase) -> None:
    thoughts = Thoughts(llama3_tokenizer, HIDE)
    ids = thoughts.encode([], f"{OPEN}\nHm.\n{CLOSE}\n\nHello there.{OPEN}So.{CLOSE}Hello!")
    pieces = [llama3_tokenizer.decode([token]) for token in ids]
    assert {">\n\n", ".<", ">Hello"} <= set(pieces)
    assert visible_of(thoughts, ids, opened=False) == Visible("Hello there.Hello!", 6, unfinished=False)
