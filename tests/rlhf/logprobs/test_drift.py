"""The drift from base: against transformers' own logits in float64, and zero of a policy against itself."""

import math

import numpy as np
import pyarrow as pa
import pytest
import torch

from rlhf.base.artifacts import ArtifactError
from rlhf.logprobs.drift import drift_rows, sampled_groups
from rlhf.logprobs.groups import group_logprobs
from rlhf.logprobs.responses import ResponseLogprobs
from rlhf.logprobs.schema import DRIFT, Drift
from rlhf.prompts.schema import PROMPTS
from rlhf.responses.schema import RESPONSES
from small_models import direct_logprob, random_ids, small_llama

TEMPERATURE = 0.8
GENERATOR = torch.Generator().manual_seed(0)
PROMPT_ROWS = [
    {"prompt_id": f"p{number}", "prompt": "", "prompt_token_ids": random_ids(3 + number, GENERATOR)}
    for number in range(4)
]
RESPONSE_ROWS = [
    {
        "prompt_id": f"p{number}",
        "draw": draw,
        "response": "",
        "response_token_ids": random_ids(1 + number + 2 * draw, GENERATOR),
        "finish_reason": "stop",
        "seed": 0,
    }
    for number in (2, 0, 3, 1)
    for draw in range(3)
]
PROMPTS_TABLE = pa.Table.from_pylist(PROMPT_ROWS, PROMPTS.schema)
RESPONSES_TABLE = pa.Table.from_pylist(RESPONSE_ROWS, RESPONSES.schema)


def logprobs(seed: int, budget: int = 40) -> list[float]:
    model = ResponseLogprobs(small_llama(seed=seed), TEMPERATURE)
    groups = sampled_groups(PROMPTS_TABLE, RESPONSES_TABLE)
    return [found for (found,) in group_logprobs(model, groups, "float32", budget)]


def test_it_is_that_of_the_models_own_logits_in_float64() -> None:
    rows = drift_rows(RESPONSES_TABLE, logprobs(1), logprobs(0))
    prompts = {row["prompt_id"]: row["prompt_token_ids"] for row in PROMPT_ROWS}
    policies = [small_llama(seed=seed).double() for seed in (1, 0)]
    ratios = []
    with torch.no_grad():
        for row in RESPONSE_ROWS:
            both = (prompts[row["prompt_id"]], row["response_token_ids"], TEMPERATURE)
            of_policy, of_base = (float(direct_logprob(policy, *both)) for policy in policies)
            ratios.append(of_policy - of_base)
    tokens = [len(row["response_token_ids"]) for row in RESPONSE_ROWS]
    found = Drift.of(rows)
    assert abs(found.per_response) > 0.01
    assert found.per_response == pytest.approx(np.mean(ratios), abs=1e-5)
    assert found.per_token == pytest.approx(np.sum(ratios) / np.sum(tokens), abs=1e-6)
    means = np.reshape(ratios, (4, 3)).mean(axis=1)
    assert found.error == pytest.approx(means.std(ddof=1) / math.sqrt(4), abs=1e-5)
    assert rows["prompt_id"].to_pylist() == [row["prompt_id"] for row in RESPONSE_ROWS]
    assert rows["tokens"].to_pylist() == tokens
    assert rows.schema == DRIFT.schema


def test_a_policy_has_not_drifted_from_itself() -> None:
    assert Drift.of(drift_rows(RESPONSES_TABLE, logprobs(3), logprobs(3))) == (0.0, 0.0, 0.0)


def test_samples_of_a_known_distribution_give_its_divergence() -> None:
    """Two distributions over three responses: the mean log-ratio of 200,000 samples of the first."""
    first, second = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5])
    drawn = np.random.default_rng(0).choice(3, size=200_000, p=first)
    columns = {
        "prompt_id": [f"p{number}" for number in range(len(drawn))],
        "draw": np.zeros(len(drawn), dtype=np.int32),
        "logprob": np.log(first)[drawn].astype(np.float32),
        "base_logprob": np.log(second)[drawn].astype(np.float32),
        "tokens": np.full(len(drawn), 2, dtype=np.int32),
    }
    found = Drift.of(pa.table(columns, schema=DRIFT.schema))
    exact = float((first * np.log(first / second)).sum())
    assert found.error is not None and found.error < 0.003
    assert abs(found.per_response - exact) < 4 * found.error
    assert found.per_token == pytest.approx(found.per_response / 2)


def test_a_response_without_a_prompt_is_named() -> None:
    with pytest.raises(ArtifactError, match="row 0: p2 is not among the prompts"):
        sampled_groups(PROMPTS_TABLE.slice(0, 2), RESPONSES_TABLE)
