"""vLLM with all draws of all prompts in one call, against one call per draw, on the same engine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlhf.machine.progress import Progress
from rlhf.models.tokenizers import load_tokenizer
from rlhf.responses.engines.vllm import VllmEngine
from toy_policy import save_toy_policy, toy_requests, toy_sampling


def prepare(way: str, options: dict[str, Any], folder: Path, stack: contextlib.ExitStack) -> Callable[[], Any]:
    """Start an engine, which `stack` shuts down."""
    from vllm import SamplingParams
    from vllm.inputs import TokensPrompt

    save_toy_policy(folder, options)
    sampling = toy_sampling(options)
    requests = toy_requests(options)
    tokenizer = load_tokenizer(str(folder))
    engine = VllmEngine(str(folder), None, sampling, gpus=0, threads=options["threads"])
    stack.callback(engine.llm.llm_engine.engine_core.shutdown)

    def tutorial() -> list[list[int]]:
        sampled = []
        for draw in range(options["draws"]):
            parameters = SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_tokens,
                stop_token_ids=engine.stop_ids,
                seed=50 * draw,
            )
            prompts = [TokensPrompt(prompt_token_ids=request.prompt_token_ids) for request in requests]
            outputs = engine.llm.generate(prompts, parameters, use_tqdm=False)
            sampled += [list(output.outputs[0].token_ids) for output in outputs]  # it detokenizes too
        return sampled

    def pipeline() -> list[list[int]]:
        with Progress(len(requests) * options["draws"], "responses", "sampling") as progress:
            completions = engine.sample(requests, progress)
        sampled = [completion.token_ids for drawn in completions for completion in drawn]
        tokenizer.batch_decode(sampled, skip_special_tokens=True)
        return sampled

    return timed(tutorial if way == "tutorial" else pipeline)


def timed(sample: Callable[[], list[list[int]]]) -> Callable[[], dict[str, Any]]:
    """Seconds and sampled tokens of one round."""

    def work() -> dict[str, Any]:
        start = time.perf_counter()
        sampled = sample()
        return {"seconds": time.perf_counter() - start, "tokens": sum(map(len, sampled))}

    return work
