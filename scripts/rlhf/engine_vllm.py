"""Sampling with vLLM: one engine start per part, all draws of all prompts in one call."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rlhf.engines import Completion, Request, SamplingSettings, check_context, stop_token_ids
from rlhf.models import Precision, load_tokenizer
from rlhf.progress import Progress


class VllmEngine:
    """An `Engine` over the GPUs of the job (tensor parallel), or over the CPU with vLLM's CPU build."""

    def __init__(self, model: str, revision: str | None, precision: Precision, gpus: int) -> None:
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        from transformers import GenerationConfig
        from vllm import LLM

        self.llm = LLM(
            model=model,
            revision=revision,
            tokenizer_revision=revision,
            dtype=precision,
            tensor_parallel_size=max(gpus, 1),
            enforce_eager=gpus == 0,
            generation_config="vllm",
        )
        generation = GenerationConfig.from_pretrained(model, revision=revision or "main")
        self.stop_ids = stop_token_ids(generation, load_tokenizer(model, revision))

    def sample(
        self, requests: Sequence[Request], sampling: SamplingSettings, progress: Progress
    ) -> list[list[Completion]]:
        """See `Engine.sample`. A request per draw, so that each has a seed of its own."""
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt

        if not requests:
            return []
        check_context(requests, sampling.max_tokens, self.llm.llm_engine.model_config.max_model_len)
        draws = [(request, seed) for request in requests for seed in request.seeds]
        outputs = self.llm.generate(
            [TokensPrompt(prompt_token_ids=request.prompt_token_ids) for request, _ in draws],
            [
                SamplingParams(
                    temperature=sampling.temperature,
                    top_p=sampling.top_p,
                    max_tokens=sampling.max_tokens,
                    stop_token_ids=self.stop_ids,
                    seed=seed,
                    detokenize=False,
                )
                for _, seed in draws
            ],
        )
        progress.advance(len(draws))
        rows = iter(outputs)
        return [[self._completion(next(rows)) for _ in request.seeds] for request in requests]

    def _completion(self, output: object) -> Completion:
        sampled = output.outputs[0]  # type: ignore[attr-defined]
        return Completion(list(sampled.token_ids), sampled.finish_reason)
