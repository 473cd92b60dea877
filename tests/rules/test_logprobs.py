"""The log-probabilities that the pipeline stored, against a padded computation with transformers' own logits."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from project import Project
from rlhf.logprobs.schema import LOGPROBS
from rlhf.pairs.schema import PAIRS

TEMPERATURE = 0.8


@torch.no_grad()
def padded_logprobs(model: torch.nn.Module, rows: list[tuple[list[int], list[int]]]) -> list[float]:
    """All rows in one batch, prompts padded on the left and responses on the right, logits at every position."""
    width = max(len(prompt) for prompt, _ in rows), max(len(response) for _, response in rows)
    ids, mask = torch.zeros(len(rows), sum(width), dtype=torch.long), torch.zeros(len(rows), sum(width))
    for row, (prompt, response) in enumerate(rows):
        ids[row, width[0] - len(prompt) : width[0] + len(response)] = torch.tensor(prompt + response)
        mask[row, width[0] - len(prompt) : width[0] + len(response)] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0).long()
    logits = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits.double() / TEMPERATURE
    tokens = torch.log_softmax(logits[:, width[0] - 1 : -1], dim=-1).gather(2, ids[:, width[0] :, None])[..., 0]
    return (tokens * mask[:, width[0] :]).sum(1).tolist()


@pytest.mark.parametrize("policy", ["base", "rebel-1"])
def test_they_are_those_of_a_padded_batch(policy: str, finished_micro: Project) -> None:
    results = finished_micro.folder / "results/micro"
    folder = results / ("world/policy" if policy == "base" else f"{policy}/checkpoint")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    pairs = PAIRS.read(results / policy / "pairs/train-000.parquet").to_pylist()
    stored = LOGPROBS.read(results / policy / "logprobs/train-000.parquet").to_pylist()
    assert len(pairs) == len(stored) > 3
    for side in ("chosen", "rejected"):
        rows = [(pair["prompt_token_ids"], pair[f"{side}_token_ids"]) for pair in pairs]
        expected = padded_logprobs(model, rows)
        assert [row[f"{side}_logprob"] for row in stored] == pytest.approx(expected, abs=1e-3)
