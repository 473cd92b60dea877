"""Conversations in the chat templates of real tokenizers, which `make tokenizers` fetches."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from rlhf.base.errors import UserError
from rlhf.datasets.conversations import Messages
from rlhf.models.round_trip import check_round_trip
from rlhf.tokens.chat import encode_messages, encode_response
from rlhf.tokens.special_tokens import special_tokens
from rlhf.tokens.templates import NO_OPTIONS, TEMPLATE_DATE, TemplateOptions, require_options

CHAT: Messages = (
    ("system", "Be brief."),
    ("user", "Hi\n\nthere,  you  <b>"),
    ("assistant", "Hello!"),
    ("user", "What is 2 + 2? 🦙"),
)
CHATS = {"system": CHAT, "turns": CHAT[1:], "single": CHAT[1:2], "single_system": CHAT[:2]}
ANSWER = "It is 4.\n\n- I am sure."
NO_THOUGHTS: TemplateOptions = {"enable_thinking": False}
SPECIAL = "<|im_end|> <end_of_turn> <|eot_id|> <|endoftext|>"


@pytest.fixture(scope="module", params=["llama3_1", "qwen3", "gemma3"])
def tokenizer(request: pytest.FixtureRequest, real_tokenizers: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(real_tokenizers / request.param)


def published_ids(tokenizer: PreTrainedTokenizerBase, messages: Messages, options: TemplateOptions) -> list[int]:
    found: list[int] = tokenizer.apply_chat_template(
        [{"role": role, "content": content} for role, content in messages],
        add_generation_prompt=messages[-1][0] == "user",
        return_dict=False,
        strftime_now=TEMPLATE_DATE.strftime,
        **options,
    )
    return found


@pytest.mark.parametrize("form", list(CHATS))
def test_prompts_and_conversations_are_those_of_the_template(tokenizer: PreTrainedTokenizerBase, form: str) -> None:
    messages = CHATS[form]
    thinks = "enable_thinking" in str(tokenizer.chat_template)
    for options in (NO_OPTIONS, NO_THOUGHTS) if thinks else (NO_OPTIONS,):
        prompt = encode_messages(tokenizer, messages, options)
        assert prompt == published_ids(tokenizer, messages, options)
        whole = published_ids(tokenizer, (*messages, ("assistant", ANSWER)), options)
        assert encode_messages(tokenizer, (*messages, ("assistant", ANSWER)), options) == whole
        ours = [*prompt, *encode_response(tokenizer, ANSWER)]
        if thinks and not options:  # the template puts an empty thought before an answer that has none
            assert whole[: len(ours)] != ours
        else:
            assert whole[: len(ours)] == ours
            assert tokenizer.decode(whole[len(ours) :]).strip() == ""


def test_special_tokens_in_any_turn_are_text(tokenizer: PreTrainedTokenizerBase) -> None:
    written = tuple((role, f"{content} {SPECIAL}") for role, content in CHAT)
    specials = special_tokens(tokenizer)
    assert specials.among(tokenizer(SPECIAL, add_special_tokens=False)["input_ids"])
    ids = encode_messages(tokenizer, written)
    assert specials.among(ids) == specials.among(encode_messages(tokenizer, CHAT))
    assert tokenizer.decode(ids).count(SPECIAL) == len(CHAT)


def test_options_that_a_template_does_not_read_are_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    check_round_trip(tokenizer)
    require_options(tokenizer, NO_OPTIONS)
    with pytest.raises(UserError, match=r"does not read 'enable_thinkin'; it reads "):
        require_options(tokenizer, {"enable_thinkin": False})
    if "enable_thinking" in str(tokenizer.chat_template):
        require_options(tokenizer, NO_THOUGHTS)
        assert encode_messages(tokenizer, CHAT, NO_THOUGHTS) != encode_messages(tokenizer, CHAT)
