"""vLLM's OpenAI-compatible server."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

from rlhf.tokens.templates import TemplateOptions

PROGRAM = Path(__file__).with_name("start_vllm.py")
CPU_CACHE_GIB = "1"


@dataclass(frozen=True)
class ServedModel:
    """A model and how vLLM serves it."""

    model: str
    """Hub name or folder."""
    revision: str | None
    name: str
    """What requests call it."""
    seed: int
    precision: str
    max_model_len: int | None
    """Longest prompt and answer together, in tokens; None takes the model's."""
    gpus: int
    """0 serves on the CPU."""
    tensor_parallel: int = 1
    """GPUs for one copy of the model; there are as many copies as fit on the GPUs."""
    template: TemplateOptions = field(default_factory=dict)
    """Options of the chat template, for requests that give none."""


def vllm_command(served: ServedModel, port: int, python: str = sys.executable) -> list[str]:
    """The command that serves a model on a port of this machine, with nothing of the requests in its log.

    Sampling defaults of the model are ignored, but for its stop tokens; no code and no pickle of its repository runs.
    """
    command = [python, "-P", str(PROGRAM), "serve", served.model]
    if served.revision is not None:
        command += ["--revision", served.revision, "--tokenizer-revision", served.revision]
    command += ["--served-model-name", served.name, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--seed", str(served.seed), "--dtype", served.precision, "--load-format", "safetensors"]
    command += ["--generation-config", "vllm", "--no-enable-log-requests", "--disable-uvicorn-access-log"]
    if served.template:
        command += ["--default-chat-template-kwargs", json.dumps(dict(served.template))]
    if served.max_model_len is not None:
        command += ["--max-model-len", str(served.max_model_len)]
    if served.gpus == 0:
        return [*command, "--enforce-eager", "--no-enable-chunked-prefill"]  # see responses/engines/vllm.py
    copies = served.gpus // served.tensor_parallel
    return [*command, "--tensor-parallel-size", str(served.tensor_parallel), "--data-parallel-size", str(copies)]


def cpu_settings(threads: int) -> dict[str, str]:
    """Environment variables of a server on the CPU."""
    return {
        "VLLM_CPU_KVCACHE_SPACE": CPU_CACHE_GIB,
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(threads),
    }
