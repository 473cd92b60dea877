"""Sampling with vLLM: one engine start per part, all draws of all prompts in one call."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rlhf.engines import Completion, Request, check_context, stop_token_ids
from rlhf.errors import UserError
from rlhf.models import load_tokenizer
from rlhf.progress import Progress
from rlhf.responses import SamplingSettings

CPU_CACHE_GIB = "2"


class VllmEngine:
    """An `Engine` over the GPUs of the job (tensor parallel), or over the CPU with vLLM's CPU build."""

    def __init__(self, model: str, revision: str | None, sampling: SamplingSettings, gpus: int, threads: int) -> None:
        """Raises UserError where vLLM is not installed."""
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # logs are standard error
        if gpus == 0:
            os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", CPU_CACHE_GIB)
            os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
            os.environ["OMP_NUM_THREADS"] = str(threads)
        try:
            from vllm import LLM
        except ModuleNotFoundError as error:
            raise UserError(
                f"responses.engine: vllm, and {error}. Set `environments: conda` and run with `--sdm conda`, or set "
                "`responses.engine: transformers`."
            ) from error
        from transformers import GenerationConfig

        self.llm = LLM(
            model=model,
            revision=revision,
            tokenizer_revision=revision,
            dtype=sampling.precision,
            max_model_len=sampling.max_model_len,
            tensor_parallel_size=max(gpus, 1),
            enforce_eager=gpus == 0,
            enable_chunked_prefill=gpus > 0,  # on the CPU vLLM cannot take back the seeded draw of half a prompt
            generation_config="vllm",  # sampling is set here alone; of the model's own only the stop tokens count
        )
        generation_config = GenerationConfig.from_pretrained(model, revision=revision or "main")
        self.stop_ids = stop_token_ids(generation_config, load_tokenizer(model, revision), sampling.stop_tokens)
        self.sampling = sampling

    def sample(self, requests: Sequence[Request], progress: Progress) -> list[list[Completion]]:
        """See `Engine.sample`. vLLM gets a request per draw, so that each has a seed of its own."""
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt

        check_context(requests, self.sampling, self.llm.model_config.max_model_len)
        draws = [(request, seed) for request in requests for seed in request.seeds]
        self.llm.enqueue(
            [TokensPrompt(prompt_token_ids=request.prompt_token_ids) for request, _ in draws],
            [
                SamplingParams(
                    temperature=self.sampling.temperature,
                    top_p=self.sampling.top_p,
                    top_k=self.sampling.top_k or 0,
                    min_p=self.sampling.min_p,
                    max_tokens=self.sampling.max_tokens,
                    stop_token_ids=self.stop_ids,
                    seed=seed,
                    detokenize=False,
                )
                for _, seed in draws
            ],
            use_tqdm=False,
        )
        sampled: dict[int, Completion] = {}
        while self.llm.llm_engine.has_unfinished_requests():
            for output in self.llm.llm_engine.step():
                if output.finished:
                    token_ids = list(output.outputs[0].token_ids)
                    sampled[int(output.request_id)] = Completion(token_ids, output.outputs[0].finish_reason)
                    progress.advance(tokens=len(token_ids))
        completions = (sampled[number] for number in sorted(sampled))  # vLLM numbers them as they were given
        return [[next(completions) for _ in request.seeds] for request in requests]
