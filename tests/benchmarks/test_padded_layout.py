"""The padded layout of the tutorial, against transformers' own padding by the tutorial's description."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from padded_layout import PAD_ID, padded_pair
from rlhf.base.errors import UserError
from rlhf.tokens.chat import encode_prompt, encode_response

HEADER = [128000, 128006, 78191, 128007, 271]
"""Before an answer: `<|begin_of_text|>`, `<|start_header_id|>`, `assistant`, `<|end_header_id|>`, two line breaks."""
TOKENS = st.lists(st.integers(0, 128255), max_size=2048)


def test_a_pair_by_hand() -> None:
    chosen, rejected = padded_pair([1, 2, 3], [4, 5], [6])
    assert chosen == [128256] * 1021 + [1, 2, 3, 4, 5] + [128256] * 2046
    assert rejected == [128256] * 1021 + [1, 2, 3, 6] + [128256] * 2047


@given(prompt=TOKENS.map(lambda ids: ids[:1024]), chosen=TOKENS, rejected=TOKENS)
def test_what_is_no_padding_is_the_pair(prompt: list[int], chosen: list[int], rejected: list[int]) -> None:
    for row, response in zip(padded_pair(prompt, chosen, rejected), (chosen, rejected), strict=True):
        assert len(row) == 3072
        assert [token for token in row[:1024] if token != PAD_ID] == row[1024 - len(prompt) : 1024] == prompt
        assert [token for token in row[1024:] if token != PAD_ID] == row[1024 : 1024 + len(response)] == response


def test_nothing_is_cut() -> None:
    assert PAD_ID not in padded_pair([1] * 1024, [2] * 2048, [3] * 2048)[0]
    with pytest.raises(UserError, match="prompt of 1025 tokens"):
        padded_pair([1] * 1025, [2], [3])
    with pytest.raises(UserError, match="chosen response of 2049 tokens"):
        padded_pair([1], [2] * 2049, [3])
    with pytest.raises(UserError, match="rejected response of 2049 tokens"):
        padded_pair([1], [2], [3] * 2049)


@pytest.fixture(scope="module")
def tutorial_tokenizer(llama3_tokenizer_folder: Path) -> PreTrainedTokenizerBase:
    """A separate copy, so that the token added to it is in no other test's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(llama3_tokenizer_folder)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    return tokenizer


def tutorial_ids(tokenizer: PreTrainedTokenizerBase, role: str, texts: list[str], length: int) -> list[list[int]]:
    """Templated single messages, padded by the tokenizer itself: prompts on the left, answers on the right."""
    tokenizer.padding_side = "left" if role == "user" else "right"
    ids = tokenizer.apply_chat_template(
        [[{"role": role, "content": text}] for text in texts],
        add_generation_prompt=role == "user",
        padding="max_length",
        max_length=length,
        tokenize=True,
        return_dict=False,
    )
    return [list(row) for row in ids]


def test_real_pairs_are_as_the_tutorial_has_them(
    tutorial_tokenizer: PreTrainedTokenizerBase, llama3_tokenizer: PreTrainedTokenizerBase, real_responses: Path
) -> None:
    """For each of the 805 prompts, each of its five responses as chosen and the next one as rejected."""
    assert tutorial_tokenizer.pad_token_id == PAD_ID == len(llama3_tokenizer)
    table = pq.read_table(real_responses).to_pydict()
    prompts = [encode_prompt(llama3_tokenizer, prompt) for prompt in table["prompt"]]
    assert all(ids.count(128000) == 1 and ids[-1] == 271 for ids in prompts)
    padded_prompts = tutorial_ids(tutorial_tokenizer, "user", table["prompt"], 1024)
    too_long: set[tuple[int, int]] = set()
    before: list[tuple[list[int], list[int]]] = []
    for draw in range(5):
        texts = table[f"response_{draw}"]  # none has outer white space, which the template would strip
        responses = [encode_response(llama3_tokenizer, text) for text in texts]
        assert all(ids.count(128009) == 1 and ids[-1] == 128009 for ids in responses)
        templated = tutorial_ids(tutorial_tokenizer, "assistant", texts, 2048 + len(HEADER))
        assert all(ids[: len(HEADER)] == HEADER for ids in templated)
        padded = [ids[len(HEADER) :] for ids in templated]
        too_long.update((row, draw) for row, ids in enumerate(padded) if len(ids) > 2048)
        now = list(zip(responses, padded, strict=True))
        for row, ((chosen, padded_chosen), (rejected, padded_rejected)) in enumerate(zip(before, now, strict=False)):
            if {(row, draw - 1), (row, draw)} & too_long:
                with pytest.raises(UserError, match=r"response of .* does not fit"):
                    padded_pair(prompts[row], chosen, rejected)
            else:
                expected = padded_prompts[row] + padded_chosen, padded_prompts[row] + padded_rejected
                assert padded_pair(prompts[row], chosen, rejected) == expected
        before = now
    assert {len(ids) for ids in padded_prompts} == {1024}  # no prompt is too long
    assert len(too_long) == 11  # of 4,025 responses
