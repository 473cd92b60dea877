"""Random examples, with log-probabilities under a reference, for tests of losses that learn from those."""

from dataclasses import replace
from typing import Any

import torch

from rlhf.examples.schema import EXAMPLE_COLUMNS, Example
from small_models import direct_logprob, random_ids


def example_rows(count: int, seed: int = 0, longest: int = 12) -> list[dict[str, Any]]:
    """Rows of `EXAMPLES`, desirable in turn; each has the response of the one before it as the other one."""
    generator = torch.Generator().manual_seed(seed)

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    rows: list[dict[str, Any]] = [
        {
            "prompt_id": f"prompt-{seed}-{index}",
            "draw": index % 3,
            "prompt_token_ids": random_ids(number(3, 8), generator),
            "response_token_ids": random_ids(number(1, longest), generator),
            "desirable": index % 2 == 0,
            "reward": 0.5 + 0.01 * number(1, 50) * (1 if index % 2 == 0 else -1),
            "response": "some text",
        }
        for index in range(count)
    ]
    others = {"prompt_id": "other_prompt_id", "draw": "other_draw", "response_token_ids": "other_token_ids"}
    return [{**row, **{to: rows[index - 1][name] for name, to in others.items()}} for index, row in enumerate(rows)]


def random_examples(count: int, seed: int = 0, longest: int = 12) -> list[Example]:
    """The examples of `example_rows`."""
    return [Example(**{name: row[name] for name in EXAMPLE_COLUMNS}) for row in example_rows(count, seed, longest)]


@torch.no_grad()
def with_reference(policy: torch.nn.Module, examples: list[Example], temperature: float) -> list[Example]:
    """The examples with their log-probabilities under `policy`, one unpacked sequence at a time."""
    return [
        replace(
            each,
            logprob=float(direct_logprob(policy, each.prompt_token_ids, each.response_token_ids, temperature)),
            other_logprob=float(direct_logprob(policy, each.prompt_token_ids, each.other_token_ids, temperature)),
        )
        for each in examples
    ]
