"""Sampling with vLLM: one engine per part, which gets all draws of all prompts at once."""

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
    """An `Engine` on the job's GPUs (tensor parallel), or on the CPU with vLLM's CPU build."""

    def __init__(self, model: str, revision: str | None, sampling: SamplingSettings, gpus: int, threads: int) -> None:
        """Raises UserError if vLLM is not installed, or the model has no stop token, or consists of code or pickles."""
        os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # logs belong on standard error
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
            enable_chunked_prefill=gpus > 0,  # on the CPU, vLLM cannot undo a seeded draw of a partial prompt
            generation_config="vllm",  # ignore the model's sampling defaults; only its stop tokens are used
        )
        self.sampling = sampling

    def sample(self, requests: Sequence[Request], progress: Progress) -> list[list[Completion]]:
        """See `Engine.sample`. Each draw is a vLLM request of its own, so that it has its own seed."""
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
        # vLLM numbers requests and returns each number with a random suffix; its outputs have the number alone.
        numbers = [name.split("-")[0] for name in names]
        prompt_of = {number: request.prompt_id for number, (request, _) in zip(numbers, draws, strict=True)}
        sampled = sample_all(self.llm.llm_engine, prompt_of, progress)
        completions = (sampled[number] for number in numbers)
        return [[next(completions) for _ in request.seeds] for request in requests]


def sample_all(engine: Any, prompt_of: Mapping[str, str], progress: Progress) -> dict[str, Completion]:
    """Run vLLM's engine until all requests are finished.

    Args:
        engine: vLLM's `LLMEngine`, which holds the requests.
        prompt_of: prompt IDs by request number.

    Returns:
        Completions by request number.

    Raises:
        UserError: vLLM ended a request without a response.
    """
    sampled: dict[str, Completion] = {}
    while engine.has_unfinished_requests():
        for output in engine.step():
            if output.finished:
                response = output.outputs[0]
                if response.finish_reason not in FINISH_REASONS:
                    raise _aborted(prompt_of[output.request_id], f"finish reason {response.finish_reason!r}")
                sampled[output.request_id] = Completion(list(response.token_ids), response.finish_reason)
                progress.advance(tokens=len(response.token_ids))
    for number, prompt_id in prompt_of.items():
        if number not in sampled:
            raise _aborted(prompt_id, "no output")
    return sampled


def _aborted(prompt_id: str, how: str) -> UserError:
    return UserError(
        f"vLLM aborted a response to prompt {prompt_id} ({how}; expected 'stop' or 'length'). Nothing of this part is "
        "written. The log above may say why; run it again."
    )
