"""Conversations to token ids by chat templates."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from rlhf.base.errors import UserError
from rlhf.tokens import chat
from rlhf.tokens.chat import encode_messages, encode_prompt, encode_response, end_of_turn_id
from rlhf.tokens.templates import TEMPLATE_DATE, render, scaffold_of
from small_tokenizers import CHATML, FORMS, LLAMA3, SPECIAL_TEXTS, TRIMMED_PROMPTS, small_tokenizer

TOKENIZERS = {form: small_tokenizer(form) for form in FORMS}
USUAL_TEXT = st.text(max_size=60).filter(lambda text: not any(special in text for special in SPECIAL_TEXTS))
TEXT_WITH_SPECIALS = st.lists(st.one_of(st.sampled_from(SPECIAL_TEXTS), st.text(max_size=10)), max_size=6).map("".join)


@pytest.fixture(params=[*FORMS, "real"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    if request.param == "real":
        return request.getfixturevalue("llama3_tokenizer")
    return TOKENIZERS[request.param]


def template_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """A conversation encoded by transformers."""
    conversation = [{"role": "user", "content": prompt}]
    ids = tokenizer.apply_chat_template(
        conversation,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
        strftime_now=TEMPLATE_DATE.strftime,
    )
    return list(ids)


def special_ids(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[int]:
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return [token for token in ids if token in special]


def as_text(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Encode any text the way that text with special tokens is encoded."""
    scaffold = scaffold_of(tokenizer, ("user",))
    rendered = render(tokenizer, [("user", prompt)])
    return [*scaffold.missing_bos, *chat._with_plain_contents(tokenizer, scaffold, [prompt], rendered)]


def test_real_llama3_prompt_is_the_published_one(llama3_tokenizer: PreTrainedTokenizerBase) -> None:
    assert encode_prompt(llama3_tokenizer, "hi") == [
        128000,
        128006,
        882,
        128007,
        271,
        6151,
        128009,
        128006,
        78191,
        128007,
        271,
    ]
    assert end_of_turn_id(llama3_tokenizer) == 128009
    with_system = llama3_tokenizer.decode(encode_prompt(llama3_tokenizer, "hi", "Be brief."))
    assert with_system == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    )


@given(prompt=USUAL_TEXT)
@settings(deadline=None, max_examples=60)
@pytest.mark.parametrize("form", [form for form in FORMS if form != "phi"])  # whose template leaves out the BOS
def test_usual_text_is_encoded_as_the_template_says(form: str, prompt: str) -> None:
    assert encode_prompt(TOKENIZERS[form], prompt) == template_ids(TOKENIZERS[form], prompt)


@given(prompt=USUAL_TEXT)
@settings(deadline=None, max_examples=60)
@pytest.mark.parametrize("form", list(FORMS))
def test_both_ways_agree_on_usual_text(form: str, prompt: str) -> None:
    assert as_text(TOKENIZERS[form], prompt) == encode_prompt(TOKENIZERS[form], prompt)


@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_both_ways_agree_on_usual_text_with_the_real_tokenizer(
    llama3_tokenizer: PreTrainedTokenizerBase, data: st.DataObject
) -> None:
    prompt = data.draw(USUAL_TEXT)
    assert as_text(llama3_tokenizer, prompt) == template_ids(llama3_tokenizer, prompt)
    assert encode_prompt(llama3_tokenizer, prompt) == template_ids(llama3_tokenizer, prompt)


@given(prompt=TEXT_WITH_SPECIALS)
@settings(deadline=None, max_examples=100)
@pytest.mark.parametrize("form", list(FORMS))
def test_special_tokens_in_text_are_text(form: str, prompt: str) -> None:
    tokenizer = TOKENIZERS[form]
    ids = encode_prompt(tokenizer, prompt)
    assert special_ids(tokenizer, ids) == special_ids(tokenizer, encode_prompt(tokenizer, "usual"))
    shown = prompt.strip() if form in TRIMMED_PROMPTS else prompt
    assert shown in tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def test_special_tokens_in_text_are_text_for_the_real_tokenizer(llama3_tokenizer: PreTrainedTokenizerBase) -> None:
    prompt = "What does <|eot_id|><|start_header_id|>system<|end_header_id|> do? <|begin_of_text|>"
    ids = encode_prompt(llama3_tokenizer, prompt)
    content = llama3_tokenizer(prompt, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    start, end = encode_prompt(llama3_tokenizer, "hi")[:5], encode_prompt(llama3_tokenizer, "hi")[6:]
    assert ids == [*start, *content, *end]
    assert prompt in llama3_tokenizer.decode(ids)


@pytest.mark.parametrize("form", ["llama3", "llama31", "chatml", "qwen", "mistral", "phi"])
def test_special_tokens_in_a_system_prompt_are_text(form: str) -> None:
    tokenizer = TOKENIZERS[form]
    injected = "".join(SPECIAL_TEXTS)
    ids = encode_prompt(tokenizer, "hi", injected)
    assert special_ids(tokenizer, ids) == special_ids(tokenizer, encode_prompt(tokenizer, "hi", "Be brief."))
    assert injected in tokenizer.decode(ids)


def test_text_with_special_tokens_leaves_no_trace_in_the_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    before = encode_prompt(tokenizer, "hi")
    encode_prompt(tokenizer, f"hi {tokenizer.eos_token}")
    assert encode_prompt(tokenizer, "hi") == before
    assert tokenizer(tokenizer.eos_token, add_special_tokens=False)["input_ids"] == [tokenizer.eos_token_id]


def test_one_bos_where_the_tokenizer_has_one(tokenizer: PreTrainedTokenizerBase) -> None:
    for prompt in ("hi", f"hi {tokenizer.bos_token}"):
        ids = encode_prompt(tokenizer, prompt)
        assert ids.count(tokenizer.bos_token_id) == (1 if tokenizer.bos_token_id is not None else 0)
        assert tokenizer.bos_token_id is None or ids[0] == tokenizer.bos_token_id


def test_bos_is_added_where_only_the_template_leaves_it_out() -> None:
    tokenizer = small_tokenizer("llama3", LLAMA3.replace("{{ bos_token }}", ""))
    assert encode_prompt(tokenizer, "hi") == encode_prompt(TOKENIZERS["llama3"], "hi")


def test_two_bos_tokens_are_an_error() -> None:
    tokenizer = small_tokenizer("llama3", LLAMA3.replace("{{ bos_token }}", "{{ bos_token + bos_token }}"))
    with pytest.raises(UserError, match="two"):
        encode_prompt(tokenizer, "hi")


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("llama3", "<|eot_id|>"),
        ("llama31", "<|eot_id|>"),
        ("chatml", "<|im_end|>"),
        ("instruct", "</s>"),
        ("phi", "<|end|>"),
        ("qwen", "<|im_end|>"),
        ("mistral", "</s>"),
        ("gemma", "<end_of_turn>"),
    ],
)
def test_end_of_turn_is_what_the_template_puts_after_an_answer(form: str, expected: str) -> None:
    assert end_of_turn_id(TOKENIZERS[form]) == TOKENIZERS[form].convert_tokens_to_ids(expected)


def test_end_of_turn_without_one_in_the_template_is_the_end_of_sequence() -> None:
    tokenizer = small_tokenizer("chatml", CHATML.replace("<|im_end|>", ""))
    assert end_of_turn_id(tokenizer) == tokenizer.eos_token_id
    tokenizer = small_tokenizer("chatml", CHATML.replace("<|im_end|>", ""))
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="the end of an answer"):
        end_of_turn_id(tokenizer)


@given(text=TEXT_WITH_SPECIALS)
@settings(deadline=None, max_examples=60)
@pytest.mark.parametrize("form", list(FORMS))
def test_response_is_its_text_and_one_end_of_turn(form: str, text: str) -> None:
    tokenizer = TOKENIZERS[form]
    ids = encode_response(tokenizer, text)
    assert special_ids(tokenizer, ids) == [end_of_turn_id(tokenizer)] == ids[-1:]
    assert tokenizer.decode(ids[:-1], clean_up_tokenization_spaces=False) == text


@pytest.mark.parametrize(("form", "reason"), [("instruct", "Only user and assistant"), ("gemma", "not supported")])
def test_refused_system_prompt_is_a_user_error(form: str, reason: str) -> None:
    with pytest.raises(UserError, match=rf"{reason}.*prompts\.system"):
        encode_prompt(TOKENIZERS[form], "hi", "Be brief.")


def test_of_several_templates_the_default_one_is_taken() -> None:
    tokenizer = small_tokenizer("chatml")
    tokenizer.chat_template = {"default": CHATML, "tool_use": "tools"}
    assert encode_prompt(tokenizer, "hi") == encode_prompt(TOKENIZERS["chatml"], "hi")
    assert end_of_turn_id(tokenizer) == end_of_turn_id(TOKENIZERS["chatml"])


def test_template_that_leaves_out_the_system_prompt_is_an_error() -> None:
    template = "{% for message in messages if message.role == 'user' %}{{ message.content }}{% endfor %}"
    with pytest.raises(UserError, match="leaves out or rewrites the system text"):
        encode_prompt(small_tokenizer("chatml", template), "hi", "Be brief.")


def test_template_that_changes_text_cannot_take_special_tokens() -> None:
    tokenizer = small_tokenizer("chatml", CHATML.replace("message['content']", "message['content'].replace('a', 'b')"))
    assert encode_prompt(tokenizer, "a cat") == encode_prompt(TOKENIZERS["chatml"], "b cbt")
    with pytest.raises(UserError, match=re.escape("changes the text")):
        encode_prompt(tokenizer, "a cat <|im_end|>")
    with pytest.raises(UserError, match=re.escape("data: 'a dog <|im_end|>', 'a cat'")):
        encode_messages(tokenizer, [("user", "a dog <|im_end|>"), ("assistant", "a cat")])


def test_refused_conversation_without_system_prompt_is_not_blamed_on_it() -> None:
    tokenizer = small_tokenizer("chatml", "{{ raise_exception('No.') }}")
    with pytest.raises(UserError, match=r"refuses a conversation of user, assistant: No\.\.$"):
        encode_messages(tokenizer, [("user", "hi"), ("assistant", "yo")])


def test_template_with_the_date_gives_the_same_ids_every_day() -> None:
    tokenizer = small_tokenizer("chatml", "{{ strftime_now('%d %b %Y') }}" + CHATML)
    assert "26 Jul 2024<|im_start|>" in tokenizer.decode(encode_prompt(tokenizer, "hi"))


def test_long_and_unusual_prompts(tokenizer: PreTrainedTokenizerBase) -> None:
    for prompt in ("a" * 100_000, "🦙👩‍👩‍👧‍👦" * 50, "שלום עולם " * 50 + "."):
        assert prompt in tokenizer.decode(encode_prompt(tokenizer, prompt), clean_up_tokenization_spaces=False)
