"""Sampling with vLLM: one engine start per part, all draws of all prompts in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from rlhf.base.errors import UserError
from rlhf.machine.progress import Progress
from rlhf.models.policies import check_policy_files, load_generation_config
from rlhf.models.tokenizers import load_tokenizer
from rlhf.responses.engine import (
    FINISH_REASONS,
    Completion,
    Engine,
    Request,
    SamplingJob,
    check_context,
    stop_token_ids,
)
from rlhf.responses.settings import SamplingSettings

CPU_CACHE_GIB = "2"


def start(job: SamplingJob) -> Engine:
    return VllmEngine(job.model, job.revision, job.sampling, job.gpus, job.threads)


class VllmEngine:
    """An `Engine` over the GPUs of the job (tensor parallel), or over the CPU with vLLM's CPU build."""

    def __init__(self, model: str, revision: str | None, sampling: SamplingSettings, gpus: int, threads: int) -> None:
        """Raises UserError where vLLM is not installed, or the model names no stop token, or is code or a pickle."""
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
        check_policy_files(model, revision)
        configuration = load_generation_config(model, revision)
        self.stop_ids = stop_token_ids(configuration, load_tokenizer(model, revision), sampling.stop_tokens)
        self.llm = LLM(
            model=model,
            revision=revision,
            tokenizer_revision=revision,
            trust_remote_code=False,
            load_format="safetensors",
            dtype=sampling.precision,
            max_model_len=sampling.max_model_len,
            tensor_parallel_size=max(gpus, 1),
            enforce_eager=gpus == 0,
            enable_chunked_prefill=gpus > 0,  # on the CPU vLLM cannot take back the seeded draw of half a prompt
            generation_config="vllm",  # sampling is set here alone; of the model's own only the stop tokens count
        )
        self.sampling = sampling

    def sample(self, requests: Sequence[Request], progress: Progress) -> list[list[Completion]]:
        """See `Engine.sample`. vLLM gets a request per draw, so that each has a seed of its own."""
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt

        check_context(requests, self.sampling, self.llm.model_config.max_model_len)
        draws = [(request, seed) for request in requests for seed in request.seeds]
        names = self.llm.enqueue(
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
        # vLLM counts requests, and returns each number with a random ending: its outputs go by the number alone.
        numbers = [name.split("-")[0] for name in names]
        prompt_of = {number: request.prompt_id for number, (request, _) in zip(numbers, draws, strict=True)}
        sampled = sample_all(self.llm.llm_engine, prompt_of, progress)
        completions = (sampled[number] for number in numbers)
        return [[next(completions) for _ in request.seeds] for request in requests]


def sample_all(engine: Any, prompt_of: Mapping[str, str], progress: Progress) -> dict[str, Completion]:
    """Let vLLM's engine work until each of its requests has a completion, by the request's number.

    Args:
        engine: vLLM's `LLMEngine`, which holds the requests.
        prompt_of: the prompt's id by the request's number.

    Raises:
        UserError: a request ended without a response: vLLM gave it up.
    """
    sampled: dict[str, Completion] = {}
    while engine.has_unfinished_requests():
        for output in engine.step():
            if output.finished:
                response = output.outputs[0]
                if response.finish_reason not in FINISH_REASONS:
                    raise _given_up(prompt_of[output.request_id], f"finish reason {response.finish_reason!r}")
                sampled[output.request_id] = Completion(list(response.token_ids), response.finish_reason)
                progress.advance(tokens=len(response.token_ids))
    for number, prompt_id in prompt_of.items():
        if number not in sampled:
            raise _given_up(prompt_id, "no output")
    return sampled


def _given_up(prompt_id: str, how: str) -> UserError:
    return UserError(
        f"vLLM gave up a response to prompt {prompt_id} ({how}; a response ends with 'stop' or 'length'). No response "
        "of this part is written. The log above may say why; run it again."
    )
