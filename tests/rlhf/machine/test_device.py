"""The device that a program was granted, and its threads."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pretended_gpus import PretendedDriver, new_uuids, pretend_driver, without_grants
from rlhf.base.errors import UserError
from rlhf.machine.device import granted_device


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_number_of_threads_is_what_was_asked_for() -> None:
    for threads in (2, 1):
        assert granted_device(0, threads) == torch.device("cpu")
        assert torch.get_num_threads() == threads


@pytest.mark.parametrize("usable", [0, 2])
def test_gpus_are_leased_and_torch_must_be_able_to_use_them(usable: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch finds is replaced; the lease is real, and ends with this process alone."""
    pretend_driver(monkeypatch, PretendedDriver(new_uuids(3)))
    without_grants(monkeypatch)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: usable)
    if usable:
        assert granted_device(2, 1) == torch.device("cuda", 0)
    else:
        with pytest.raises(UserError, match=rf"granted 2 GPU\(s\), but torch {re.escape(torch.__version__)} can use 0"):
            granted_device(2, 1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


COUNT_PAGES = """
import resource, torch
from transformers import LlamaConfig, LlamaModel
from rlhf.machine.device import granted_device
granted_device(0, 1)
sizes = dict(hidden_size=256, intermediate_size=704, num_hidden_layers=2, num_attention_heads=8)
model = LlamaModel(LlamaConfig(vocab_size=100, **sizes))
def passes(count):
    with torch.inference_mode():
        for _ in range(count):
            model(torch.ones(1, 2048, dtype=torch.long))
passes(6)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
passes(8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' allocators have other options")
def test_freed_memory_is_reused_in_each_pass() -> None:
    scripts = Path(__file__).resolve().parents[3] / "scripts"
    done = subprocess.run(
        [sys.executable, "-c", COUNT_PAGES], cwd=scripts, check=True, stdout=subprocess.PIPE, text=True
    )
    assert int(done.stdout) < 5000  # pages of 4 KiB; without the options it is about 40,000
