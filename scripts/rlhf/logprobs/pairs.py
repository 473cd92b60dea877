"""Log-probabilities of pairs."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlhf.base.settings import Precision
from rlhf.logprobs.groups import group_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.machine.progress import Progress
from rlhf.pairs.paired_prompts import PairedPrompt
from rlhf.pairs.schema import Pair
from rlhf.tokens.token_budget import TokenBudget


def pair_logprobs(
    model: ResponseLogprobs,
    prompts: Sequence[PairedPrompt],
    precision: Precision,
    token_budget: TokenBudget | int,
    progress: Progress | None = None,
    *,
    process: int = 0,
    processes: int = 1,
) -> tuple[list[float], list[float]]:
    """Log-probabilities of the chosen and of the rejected responses, in the order of the pairs of all prompts.

    Args:
        token_budget, progress, process, processes: as for `group_logprobs`.
    """
    groups = [prompt.prompt_group for prompt in prompts]
    found = group_logprobs(model, groups, precision, token_budget, progress, process=process, processes=processes)
    placed = [(values, place) for prompt, values in zip(prompts, found, strict=True) for place in prompt.places]
    return [values[chosen] for values, (chosen, _) in placed], [values[rejected] for values, (_, rejected) in placed]


def logprob_rows(
    pairs: Sequence[Pair],
    chosen: Sequence[float],
    rejected: Sequence[float],
    keys: Sequence[Mapping[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Rows of `LOGPROBS`, from what `pair_logprobs` returns.

    Args:
        keys: of each pair, the rest of its key (see `logprob_artifact`); None if there is no more of it.
    """
    if keys is None:
        keys = [{}] * len(pairs)
    return [
        {
            "prompt_id": pair.prompt_id,
            "chosen_logprob": chosen_logprob,
            "rejected_logprob": rejected_logprob,
            "chosen_tokens": len(pair.chosen_token_ids),
            "rejected_tokens": len(pair.rejected_token_ids),
            **key,
        }
        for pair, chosen_logprob, rejected_logprob, key in zip(pairs, chosen, rejected, keys, strict=True)
    ]
