"""Log-probabilities of examples."""

from collections.abc import Sequence
from typing import Any

from rlhf.base.settings import Precision
from rlhf.examples.schema import Example
from rlhf.logprobs.groups import group_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.machine.progress import Progress
from rlhf.tokens.token_budget import TokenBudget


def example_logprobs(
    model: ResponseLogprobs,
    examples: Sequence[Example],
    precision: Precision,
    token_budget: TokenBudget | int,
    progress: Progress | None = None,
    *,
    process: int = 0,
    processes: int = 1,
) -> tuple[list[float], list[float]]:
    """Log-probabilities of the responses, and of the responses to other prompts, in the order of the examples.

    Args:
        token_budget, progress, process, processes: as for `group_logprobs`.
    """
    groups = [example.both for example in examples]
    found = group_logprobs(model, groups, precision, token_budget, progress, process=process, processes=processes)
    return [own for own, _ in found], [other for _, other in found]


def example_logprob_rows(
    examples: Sequence[Example], own: Sequence[float], other: Sequence[float]
) -> list[dict[str, Any]]:
    """Rows of `EXAMPLE_LOGPROBS`, from what `example_logprobs` returns."""
    return [
        {
            "prompt_id": example.prompt_id,
            "draw": example.draw,
            "logprob": logprob,
            "other_logprob": other_logprob,
            "tokens": len(example.response_token_ids),
            "other_tokens": len(example.other_token_ids),
        }
        for example, logprob, other_logprob in zip(examples, own, other, strict=True)
    ]
