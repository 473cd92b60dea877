"""The engine on transformers against batched `generate` with the same rows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rlhf.machine.progress import Progress
from rlhf.responses.engines.transformers import TransformersEngine, pad_left
from sampling_vllm import timed
from toy_policy import save_toy_policy, toy_requests, toy_sampling

FIRST_STOP = 300


def prepare(way: str, options: dict[str, Any], folder: Path, stack: contextlib.ExitStack) -> Callable[[], Any]:
    """Load the policy; all rows are one batch. `stops` is the number of additional tokens that end a response."""
    save_toy_policy(folder, options)
    torch.set_num_threads(options["threads"])
    sampling = toy_sampling(options)
    requests = toy_requests(options)
    device = torch.device("cpu")
    engine = TransformersEngine(str(folder), None, sampling, device, token_budget=10**6)
    engine.stop_ids += range(FIRST_STOP, FIRST_STOP + options["stops"])

    def tutorial() -> list[list[int]]:
        ids, mask = pad_left([request.prompt_token_ids for request in requests], device)
        outputs = engine.model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=0,
            max_new_tokens=sampling.max_tokens,
            num_return_sequences=options["draws"],
            eos_token_id=engine.stop_ids,
            pad_token_id=0,
        )
        return [up_to_stop(row, engine.stop_ids) for row in outputs[:, ids.shape[1] :].tolist()]

    def pipeline() -> list[list[int]]:
        with Progress(len(requests) * options["draws"], "responses", "sampling") as progress:
            completions = engine.sample(requests, progress)
        return [completion.token_ids for drawn in completions for completion in drawn]

    return timed(tutorial if way == "tutorial" else pipeline)


def up_to_stop(row: list[int], stop_ids: list[int]) -> list[int]:
    """A row of `generate` without the padding after its stop token."""
    return row[: 1 + next((place for place, token in enumerate(row) if token in stop_ids), len(row))]
