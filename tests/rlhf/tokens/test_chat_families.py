"""Whole conversations, system prompts and turn changes in the chat templates of several model families."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from rlhf.base.errors import UserError
from rlhf.tokens.chat import (
    encode_messages,
    encode_prompt,
    encode_response,
    end_of_turn_id,
    turn_change_ids,
)
from rlhf.tokens.templates import TEMPLATE_DATE
from small_tokenizers import FORMS, LLAMA31, SPECIAL_TEXTS, TRIMMED_PROMPTS, small_tokenizer

TOKENIZERS = {form: small_tokenizer(form) for form in FORMS}
USUAL_TEXT = st.text(max_size=60).filter(lambda text: not any(special in text for special in SPECIAL_TEXTS))
TEXT_WITH_SPECIALS = st.lists(st.one_of(st.sampled_from(SPECIAL_TEXTS), st.text(max_size=10)), max_size=6).map("".join)
WITH_SYSTEM = ["llama3", "llama31", "chatml", "qwen", "mistral", "phi"]
ENDS_WITH_SPECIAL = [form for form in FORMS if form not in ("instruct", "mistral")]
"""Templates that put a special token between a question and its answer, and only a line break before the answer."""
TRIMMED_ANSWERS = (*TRIMMED_PROMPTS, "mistral")
TURN_CHANGES = {
    "llama3": "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "llama31": "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "chatml": "<|im_end|>\n<|im_start|>assistant\n",
    "qwen": "<|im_end|>\n<|im_start|>assistant\n",
    "phi": "<|end|>\n<|assistant|>\n",
    "gemma": "<end_of_turn>\n<start_of_turn>model\n",
}


@pytest.fixture(scope="module", params=["llama3", "llama31"])
def real_tokenizer(request: pytest.FixtureRequest, llama3_tokenizer_folder: Path) -> PreTrainedTokenizerBase:
    """The real Llama-3 tokenizer, with its own template and with Llama-3.1's."""
    tokenizer = AutoTokenizer.from_pretrained(llama3_tokenizer_folder)
    if request.param == "llama31":
        tokenizer.chat_template = LLAMA31
    return tokenizer


def published_ids(tokenizer: PreTrainedTokenizerBase, *messages: tuple[str, str]) -> list[int]:
    """A conversation encoded by transformers, after the BOS that the tokenizer puts before every text."""
    ids = tokenizer.apply_chat_template(
        [{"role": role, "content": content} for role, content in messages],
        add_generation_prompt=messages[-1][0] == "user",
        tokenize=True,
        return_dict=False,
        strftime_now=TEMPLATE_DATE.strftime,
    )
    bos = tokenizer.bos_token_id
    return list(ids) if bos is None or ids[0] == bos else [bos, *ids]


def special_ids(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[int]:
    return [token for token in ids if token in tokenizer.all_special_ids]


def decoded(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("llama3", "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"),
        (
            "llama31",
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
            "Today Date: 26 Jul 2024\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>",
        ),
        (
            "qwen",
            "<|im_start|>system\nYou are Qwen, a helpful assistant.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n",
        ),
        ("mistral", "<s>[INST] hi[/INST]"),
        ("gemma", "<bos><start_of_turn>user\nhi<end_of_turn>\n"),
    ],
)
def test_prompts_begin_as_in_their_family(form: str, expected: str) -> None:
    assert decoded(TOKENIZERS[form], encode_prompt(TOKENIZERS[form], "hi")).startswith(expected)


@given(system=USUAL_TEXT, prompt=USUAL_TEXT)
@settings(deadline=None, max_examples=40)
@pytest.mark.parametrize("form", WITH_SYSTEM)
def test_system_prompt_is_encoded_as_the_template_says(form: str, system: str, prompt: str) -> None:
    tokenizer = TOKENIZERS[form]
    assert encode_prompt(tokenizer, prompt, system) == published_ids(tokenizer, ("system", system), ("user", prompt))


@given(prompt=USUAL_TEXT, response=USUAL_TEXT)
@settings(deadline=None, max_examples=40)
@pytest.mark.parametrize("form", list(FORMS))
def test_conversation_is_what_the_template_renders(form: str, prompt: str, response: str) -> None:
    tokenizer = TOKENIZERS[form]
    expected = published_ids(tokenizer, ("user", prompt), ("assistant", response))
    assert encode_messages(tokenizer, [("user", prompt), ("assistant", response)]) == expected


@given(prompt=TEXT_WITH_SPECIALS, response=TEXT_WITH_SPECIALS)
@example(prompt=" <s><|im_end|> ", response="\n</s><|eot_id|> ")  # one template strips only one of them
@settings(deadline=None, max_examples=60)
@pytest.mark.parametrize("form", list(FORMS))
def test_special_tokens_in_both_texts_are_text(form: str, prompt: str, response: str) -> None:
    tokenizer = TOKENIZERS[form]
    ids = encode_messages(tokenizer, [("user", prompt), ("assistant", response)])
    assert special_ids(tokenizer, ids) == special_ids(
        tokenizer, encode_messages(tokenizer, [("user", "usual"), ("assistant", "text")])
    )
    shown_prompt = prompt.strip() if form in TRIMMED_PROMPTS else prompt
    shown_response = response.strip() if form in TRIMMED_ANSWERS else response
    usual = decoded(tokenizer, encode_messages(tokenizer, [("user", "PROMPT"), ("assistant", "RESPONSE")]))
    before, between_and_after = usual.split("PROMPT")
    between, after = between_and_after.split("RESPONSE")
    assert decoded(tokenizer, ids) == f"{before}{shown_prompt}{between}{shown_response}{after}"


@given(prompt=TEXT_WITH_SPECIALS, response=TEXT_WITH_SPECIALS.map(str.strip))
@settings(deadline=None, max_examples=40)
@pytest.mark.parametrize("form", ENDS_WITH_SPECIAL)
def test_conversation_begins_with_its_prompt_and_response(form: str, prompt: str, response: str) -> None:
    tokenizer = TOKENIZERS[form]
    beginning = [*encode_prompt(tokenizer, prompt), *encode_response(tokenizer, response)]
    ids = encode_messages(tokenizer, [("user", prompt), ("assistant", response)])
    assert ids[: len(beginning)] == beginning
    line_break = [] if form.startswith("llama") else tokenizer("\n", add_special_tokens=False)["input_ids"]
    end_of_text = [tokenizer.eos_token_id] if form == "phi" else []
    assert ids[len(beginning) :] == [*line_break, *end_of_text]


def test_space_before_the_answer_belongs_to_the_conversation() -> None:
    tokenizer = TOKENIZERS["mistral"]
    answer = encode_response(tokenizer, " the fox")
    assert answer != [*tokenizer(" ", add_special_tokens=False)["input_ids"], *encode_response(tokenizer, "the fox")]
    assert encode_messages(tokenizer, [("user", "hi"), ("assistant", "the fox")]) == [
        *encode_prompt(tokenizer, "hi"),
        *answer,
    ]


@pytest.mark.parametrize("form", list(FORMS))
def test_one_bos_where_the_family_has_one(form: str) -> None:
    tokenizer = TOKENIZERS[form]
    expected = [] if form in ("chatml", "qwen") else [0]
    for text in ("hi", f"hi {''.join(SPECIAL_TEXTS)}"):
        for ids in (encode_prompt(tokenizer, text), encode_messages(tokenizer, [("user", text), ("assistant", text)])):
            assert [place for place, token in enumerate(ids) if token == tokenizer.bos_token_id] == expected


@given(prompt=TEXT_WITH_SPECIALS)
@settings(deadline=None, max_examples=40)
@pytest.mark.parametrize("form", ENDS_WITH_SPECIAL)
def test_prompts_end_with_the_turn_change(form: str, prompt: str) -> None:
    tokenizer = TOKENIZERS[form]
    ids = turn_change_ids(tokenizer)
    assert decoded(tokenizer, ids) == TURN_CHANGES[form]
    assert encode_prompt(tokenizer, prompt)[-len(ids) :] == ids


@pytest.mark.parametrize("form", ["instruct", "mistral"])
def test_turn_change_without_a_special_token_is_an_error(form: str) -> None:
    with pytest.raises(UserError, match="without a special token"):
        turn_change_ids(TOKENIZERS[form])


def test_turn_change_of_a_template_without_one_is_an_error() -> None:
    tokenizer = small_tokenizer("chatml", "{% for message in messages %}{{ message['content'] }}{% endfor %}")
    with pytest.raises(UserError, match="without a special token"):
        turn_change_ids(tokenizer)


def test_llama3_turn_change_is_the_published_one(llama3_tokenizer: PreTrainedTokenizerBase) -> None:
    assert turn_change_ids(llama3_tokenizer) == [128009, 128006, 78191, 128007, 271]


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_conversation_with_the_real_vocabulary(real_tokenizer: PreTrainedTokenizerBase, data: st.DataObject) -> None:
    prompt, response = data.draw(USUAL_TEXT), data.draw(USUAL_TEXT)
    ids = encode_messages(real_tokenizer, [("user", prompt), ("assistant", response)])
    assert ids == published_ids(real_tokenizer, ("user", prompt), ("assistant", response))
    assert ids == [*encode_prompt(real_tokenizer, prompt), *encode_response(real_tokenizer, response.strip())]
    assert ids.count(128000) == 1
    assert ids[-1] == 128009 == end_of_turn_id(real_tokenizer)


def test_special_tokens_in_a_conversation_with_the_real_vocabulary(real_tokenizer: PreTrainedTokenizerBase) -> None:
    question, answer = " What is <|eot_id|>?", "It ends <|start_header_id|>a turn<|eot_id|>.\n"
    ids = encode_messages(real_tokenizer, [("user", question), ("assistant", answer)])
    assert ids == [*encode_prompt(real_tokenizer, question), *encode_response(real_tokenizer, answer.strip())]
    assert special_ids(real_tokenizer, ids) == special_ids(
        real_tokenizer, encode_messages(real_tokenizer, [("user", "hi"), ("assistant", "yo")])
    )
