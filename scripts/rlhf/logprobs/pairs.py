"""Log-probabilities of pairs."""

from collections.abc import Sequence
from typing import Any

from rlhf.base.settings import Precision
from rlhf.logprobs.groups import group_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.machine.progress import Progress
from rlhf.pairs.schema import Pair
from rlhf.tokens.token_budget import TokenBudget


def pair_logprobs(
    model: ResponseLogprobs,
    pairs: Sequence[Pair],
    precision: Precision,
    token_budget: TokenBudget | int,
    progress: Progress | None = None,
    *,
    process: int = 0,
    processes: int = 1,
) -> tuple[list[float], list[float]]:
    """Log-probabilities of the chosen and of the rejected responses, in the order of the pairs.

    Args:
        token_budget, progress, process, processes: as for `group_logprobs`.
    """
    groups = [pair.prompt_group for pair in pairs]
    found = group_logprobs(model, groups, precision, token_budget, progress, process=process, processes=processes)
    return [chosen for chosen, _ in found], [rejected for _, rejected in found]


def logprob_rows(pairs: Sequence[Pair], chosen: Sequence[float], rejected: Sequence[float]) -> list[dict[str, Any]]:
    """Rows of `LOGPROBS`, from what `pair_logprobs` returns."""
    return [
        {
            "prompt_id": pair.prompt_id,
            "chosen_logprob": chosen_logprob,
            "rejected_logprob": rejected_logprob,
            "chosen_tokens": len(pair.chosen_token_ids),
            "rejected_tokens": len(pair.rejected_token_ids),
        }
        for pair, chosen_logprob, rejected_logprob in zip(pairs, chosen, rejected, strict=True)
    ]
