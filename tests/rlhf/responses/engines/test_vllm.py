"""Collecting vLLM's outputs, from a stand-in. The real vLLM runs in tests/rules/test_vllm.py."""

from types import SimpleNamespace
from typing import Any

import pytest

from rlhf.base.errors import UserError
from rlhf.machine.progress import Progress
from rlhf.responses.engine import Completion
from rlhf.responses.engines.vllm import sample_all

PROMPT_OF = {"7": "first", "8": "first", "9": "second"}


class StandIn:
    """Returns prepared outputs step by step, like vLLM's `LLMEngine`."""

    def __init__(self, *steps: list[Any]) -> None:
        self.steps = list(steps)

    def has_unfinished_requests(self) -> bool:
        return bool(self.steps)

    def step(self) -> list[Any]:
        return self.steps.pop(0)


def output(number: str, reason: str | None, *ids: int) -> Any:
    return SimpleNamespace(
        request_id=number,
        finished=reason is not None,
        outputs=[SimpleNamespace(token_ids=ids, finish_reason=reason)],
    )


def sample(*steps: list[Any]) -> dict[str, Completion]:
    with Progress(len(PROMPT_OF), "responses", "test") as progress:
        return sample_all(StandIn(*steps), PROMPT_OF, progress)


def test_completions_are_matched_by_request_number() -> None:
    sampled = sample(
        [output("9", None, 4), output("8", "stop", 4, 2)], [output("9", "length", 4, 5)], [output("7", "stop", 2)]
    )
    assert sampled == {
        "7": Completion([2], "stop"),
        "8": Completion([4, 2], "stop"),
        "9": Completion([4, 5], "length"),
    }


@pytest.mark.parametrize("reason", ["abort", "error", "repetition"])
def test_any_other_finish_reason_is_an_error_that_names_the_prompt(reason: str) -> None:
    with pytest.raises(UserError, match=rf"a response to prompt second \(finish reason '{reason}'"):
        sample([output("7", "stop", 2), output("9", reason, 4)], [output("8", "stop", 2)])


def test_a_request_without_output_is_an_error() -> None:
    with pytest.raises(UserError, match=r"a response to prompt first \(no output"):
        sample([output("7", "stop", 2)], [output("9", "stop", 2)])
