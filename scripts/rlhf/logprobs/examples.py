"""Log-probabilities of examples."""

from collections.abc import Sequence
from typing import Any

from rlhf.examples.schema import Example


def example_logprob_rows(examples: Sequence[Example], logprobs: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """Rows of `EXAMPLE_LOGPROBS`.

    Args:
        logprobs: of the two responses of each example, its own and the one to another prompt (see `Example.both`).
    """
    return [
        {
            "prompt_id": example.prompt_id,
            "draw": example.draw,
            "logprob": logprob,
            "other_logprob": other_logprob,
            "tokens": len(example.response_token_ids),
            "other_tokens": len(example.other_token_ids),
        }
        for example, (logprob, other_logprob) in zip(examples, logprobs, strict=True)
    ]
