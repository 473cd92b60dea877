"""What sampling engines share."""

from types import SimpleNamespace

import pytest

from rlhf.engines import Request, check_context, stop_token_ids
from rlhf.errors import UserError


def requests(*lengths: int) -> list[Request]:
    return [Request(f"prompt-{length}", [1] * length, [0]) for length in lengths]


def test_the_longest_prompt_decides_about_the_context() -> None:
    check_context(requests(5, 60, 7), max_tokens=40, context=100)
    with pytest.raises(UserError) as error:
        check_context(requests(5, 61, 7), max_tokens=40, context=100)
    assert "prompt prompt-61 has 61 tokens" in str(error.value)
    assert "that makes 101, and the model's context is 100" in str(error.value)


def test_a_model_without_a_limit_takes_any_length() -> None:
    check_context(requests(10**6), max_tokens=10**6, context=None)


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
    found = stop_token_ids(SimpleNamespace(eos_token_id=configured), SimpleNamespace(eos_token_id=own))
    assert found == expected


def test_a_model_without_a_generation_config() -> None:
    assert stop_token_ids(None, SimpleNamespace(eos_token_id=4)) == [4]


def test_no_stop_token_is_an_error() -> None:
    with pytest.raises(UserError, match="no stop token"):
        stop_token_ids(SimpleNamespace(eos_token_id=None), SimpleNamespace(eos_token_id=None))
