"""vLLM's server: its command, and for real on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from rlhf.base.files.journal import Journal
from rlhf.benchmarks.servers.upstream import Sender, Upstream, reached_at
from rlhf.benchmarks.servers.vllm_command import ServedModel, vllm_command
from small_models import SCRIPTS, save_small_policy
from vllm_environment import python_with_vllm

SERVED = ServedModel("owner/model", "1a2b", "rebel-1", seed=7, precision="bfloat16", max_model_len=4096, gpus=8)


def options(command: list[str]) -> dict[str, str]:
    """Options with a value."""
    return {name: value for name, value in pairwise(command) if name.startswith("--")}


def test_the_command_on_gpus() -> None:
    command = vllm_command(SERVED, 8123)
    assert command[0] == sys.executable
    assert command[3:5] == ["serve", "owner/model"]
    found = options(command)
    assert found["--revision"] == found["--tokenizer-revision"] == "1a2b"
    assert found["--served-model-name"] == "rebel-1"
    assert (found["--host"], found["--port"], found["--seed"]) == ("127.0.0.1", "8123", "7")
    assert (found["--dtype"], found["--max-model-len"], found["--load-format"]) == ("bfloat16", "4096", "safetensors")
    assert (found["--tensor-parallel-size"], found["--data-parallel-size"]) == ("1", "8")
    assert "--no-enable-log-requests" in command
    two = options(vllm_command(ServedModel(**{**vars(SERVED), "tensor_parallel": 4}), 1))
    assert (two["--tensor-parallel-size"], two["--data-parallel-size"]) == ("4", "2")
    assert "--default-chat-template-kwargs" not in found
    thoughtless = options(vllm_command(replace(SERVED, template={"enable_thinking": False}), 1))
    assert json.loads(thoughtless["--default-chat-template-kwargs"]) == {"enable_thinking": False}


def test_the_command_on_the_cpu() -> None:
    model = ServedModel("folder", None, "base", 7, "float32", None, 0)
    command = vllm_command(model, 8123, "/env/bin/python")
    assert command[0] == "/env/bin/python"
    assert "--enforce-eager" in command
    assert not {"--revision", "--max-model-len", "--tensor-parallel-size", "--data-parallel-size"} & set(command)


OWNER = """
import json, os, sys, time
from functools import partial
from pathlib import Path
from rlhf.benchmarks.servers.vllm_command import ServedModel, cpu_settings, vllm_command
from rlhf.benchmarks.servers.serving import ModelServer
policy, log, python = sys.argv[1:]
model = ServedModel(policy, None, "base", 7, "float32", 128, 0)
environment = {**os.environ, "HF_HUB_OFFLINE": "1", **cpu_settings(1)}
with ModelServer("the policy", partial(vllm_command, model, python=python), environment, Path(log)) as connection:
    print(json.dumps([connection.url, connection.key]), flush=True)
    time.sleep(1000)
"""


@pytest.mark.slow
def test_a_policy_is_served_and_its_server_does_not_outlive_its_owner(tmp_path: Path) -> None:
    policy, log = save_small_policy(tmp_path / "policy", heads=1), tmp_path / "log"
    command = [sys.executable, "-c", OWNER, str(policy), str(log), python_with_vllm()]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as owner:
        assert owner.stdout is not None
        url, key = json.loads(owner.stdout.readline())
        upstream = Upstream("policy", {}, "base", reached_at(url, key), Journal(None))
        sender = Sender(upstream, threading.Event())
        first, again = sender.send(request("Tell me of Zanzibar.")), sender.send(request("Tell me of Zanzibar."))
        refused = sender.send(request("Zanzibar " * 400))
        processes = psutil.Process(owner.pid).children(recursive=True)
        owner.kill()
    assert first == again
    assert first["usage"]["completion_tokens"] <= 16
    assert len(first["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 3
    assert refused == {"refused": 400}
    assert "zanzibar" not in log.read_text().lower()
    assert len(processes) >= 4  # watchdog, API server, engine, worker
    assert wait_until_gone(processes) == []


def request(text: str) -> dict[str, Any]:
    settings = {"temperature": 0.0, "max_tokens": 16, "logprobs": True, "top_logprobs": 3}
    return {"model": "base", "messages": [{"role": "user", "content": text}], **settings}


def wait_until_gone(processes: list[psutil.Process], seconds: float = 30.0) -> list[psutil.Process]:
    """Those that still run after this time."""
    deadline = time.monotonic() + seconds
    while (running := [process for process in processes if process.is_running()]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return running
