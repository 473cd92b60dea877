"""The test responses of a policy, as they are put before the policy itself and before `base`."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from rlhf.base.artifacts import ArtifactError
from rlhf.logprobs.schema import DRIFT
from rlhf.tokens.prompt_group import PromptGroup


def sampled_groups(prompts: pa.Table, responses: pa.Table) -> list[PromptGroup]:
    """Each response with its prompt, in the order of `RESPONSES`.

    Args:
        prompts, responses: rows of `PROMPTS` and `RESPONSES`.

    Raises:
        ArtifactError: a response has no prompt.
    """
    positions = pc.index_in(responses["prompt_id"], prompts["prompt_id"].combine_chunks())
    if positions.null_count:
        row = pc.index(positions.is_null(), True).as_py()
        raise ArtifactError(f"responses: row {row}: {responses['prompt_id'][row]} is not among the prompts")
    asked = prompts["prompt_token_ids"].take(positions)
    pairs = zip(asked, responses["response_token_ids"], strict=True)
    return [PromptGroup(prompt.values.to_numpy(), [response.values.to_numpy()]) for prompt, response in pairs]


def drift_rows(responses: pa.Table, under_policy: Sequence[float], under_base: Sequence[float]) -> pa.Table:
    """Rows of `DRIFT`.

    Args:
        responses: rows of `RESPONSES`, sampled from the policy.
        under_policy, under_base: log-probability of each response, in their order.
    """
    columns = {
        "prompt_id": responses["prompt_id"],
        "draw": responses["draw"],
        "logprob": pa.array(under_policy, pa.float32()),
        "base_logprob": pa.array(under_base, pa.float32()),
        "tokens": pc.list_value_length(responses["response_token_ids"]),
    }
    return pa.Table.from_arrays([columns[name] for name in DRIFT.schema.names], schema=DRIFT.schema)
