"""The device that a program was granted, and its threads."""

from collections.abc import Iterator

import pytest
import torch

from rlhf.device import granted_device
from rlhf.errors import UserError


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_number_of_threads_is_what_was_asked_for() -> None:
    for threads in (2, 1):
        assert granted_device(0, threads) == torch.device("cpu")
        assert torch.get_num_threads() == threads


def test_fewer_gpus_than_asked_for() -> None:
    visible = torch.cuda.device_count()
    with pytest.raises(UserError, match=rf"asks for {visible + 1} GPU\(s\) and sees {visible}.*CUDA_VISIBLE_DEVICES"):
        granted_device(visible + 1, 1)


def test_the_first_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert granted_device(1, 1) == granted_device(2, 1) == torch.device("cuda", 0)
