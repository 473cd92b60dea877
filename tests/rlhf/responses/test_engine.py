"""What sampling engines share."""

import pytest
from transformers import GenerationConfig

from rlhf.base.errors import UserError
from rlhf.responses.engine import Request, check_context, stop_token_ids
from rlhf.responses.settings import SamplingSettings
from small_tokenizers import small_tokenizer


def requests(*lengths: int) -> list[Request]:
    return [Request(f"prompt-{length}", [1] * length, [0]) for length in lengths]


def test_the_longest_prompt_must_fit_the_context() -> None:
    sampling = SamplingSettings(max_tokens=40)
    check_context(requests(5, 60, 7), sampling, context=100)
    with pytest.raises(UserError) as error:
        check_context(requests(5, 61, 7), sampling, context=100)
    assert "prompt prompt-61 has 61 tokens" in str(error.value)
    assert "that makes 101, more than the limit of 100" in str(error.value)


@pytest.mark.parametrize(("context", "setting"), [(99, None), (None, 99), (99, 500), (500, 99)])
def test_the_shorter_of_the_models_context_and_the_setting_counts(context: int | None, setting: int | None) -> None:
    sampling = SamplingSettings(max_tokens=40, max_model_len=setting)
    check_context(requests(59), sampling, context)
    with pytest.raises(UserError, match="limit of 99"):
        check_context(requests(60), sampling, context)


def test_a_model_without_a_limit_takes_any_length() -> None:
    check_context(requests(10**6), SamplingSettings(max_tokens=10**6), context=None)


@pytest.mark.parametrize(
    ("configured", "own", "expected"),
    [
        (None, 3, [3]),
        (7, 3, [3, 7]),
        (3, 3, [3]),
        ([9, 2, 3], 3, [2, 3, 9]),
        ([2], None, [2]),
        (0, None, [0]),
    ],
)
def test_stop_tokens_of_generation_config_and_tokenizer(
    configured: int | list[int] | None, own: int | None, expected: list[int]
) -> None:
    tokenizer = small_tokenizer()
    tokenizer.eos_token = None if own is None else tokenizer.convert_ids_to_tokens(own)
    assert stop_token_ids(GenerationConfig(eos_token_id=configured), tokenizer, []) == expected


def test_further_stop_tokens_by_their_text() -> None:
    tokenizer = small_tokenizer()
    configuration = GenerationConfig()
    ids = tokenizer.convert_tokens_to_ids(["<|eot_id|>", "<|end_header_id|>", "!"])
    assert stop_token_ids(configuration, tokenizer, ["!", "<|end_header_id|>", "<|eot_id|>"]) == sorted(ids)
    with pytest.raises(UserError, match=r"responses.stop_tokens: '<nothing>' is not a token of"):
        stop_token_ids(configuration, tokenizer, ["!", "<nothing>"])


def test_no_stop_token_is_an_error() -> None:
    tokenizer = small_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="no stop token"):
        stop_token_ids(GenerationConfig(), tokenizer, [])
