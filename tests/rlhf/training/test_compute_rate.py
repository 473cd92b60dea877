"""What a training step costs, against a count of its products, and the share of a GPU's rate."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import rlhf.training.compute_rate
from rlhf.tokens.packed_attention import packed_hidden_states, use_packed_attention
from rlhf.tokens.packing import Pack
from rlhf.training.adapters import add_adapters
from rlhf.training.compute_rate import ComputeMeter, peak_rate
from rlhf.training.settings import LoraSettings
from small_models import CPU, random_pairs, small_llama


def counted(pack: Pack, adapters: bool) -> float:
    """Products of the layers' forward and backward that torch counts."""
    policy = small_llama()
    if adapters:
        add_adapters(policy, LoraSettings(rank=1, alpha=1))
    use_packed_attention(policy)
    with FlopCounterMode(display=False) as counter:
        packed_hidden_states(policy.get_decoder(), pack).sum().backward()
    by_operator = counter.get_flop_counts()["Global"]
    return sum(count for operator, count in by_operator.items() if str(operator) in ("aten.mm", "aten.addmm"))


@pytest.mark.parametrize("adapters", [False, True], ids=["all weights", "adapters"])
def test_operations_are_those_of_the_products(adapters: bool) -> None:
    pack = Pack([pair.prompt_group for pair in random_pairs(8, longest=30)], CPU)
    meter = ComputeMeter(small_llama(), CPU, 1, adapters=adapters)
    assert meter.count(pack.input_ids.numel(), 0) == {}
    assert meter.operations == pytest.approx(counted(pack, adapters), rel=0.1)


def test_the_head_has_three_products_for_each_response_token() -> None:
    meter = ComputeMeter(small_llama(), CPU, 1, adapters=False)
    meter.count(0, 10)
    assert meter.operations == 3 * 2 * 10 * 64 * 32


def test_the_share_is_of_all_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = small_llama()
    monkeypatch.setattr(rlhf.training.compute_rate, "peak_rate", lambda device: 1e9)
    clock = iter([100.0, 102.0])
    monkeypatch.setattr(rlhf.training.compute_rate.time, "monotonic", lambda: next(clock))
    meter = ComputeMeter(policy, CPU, 4, adapters=False)
    tokens = round(0.5 * 2.0 * 4e9 / (6 * meter.layers))
    assert meter.count(tokens, 0) == {"of peak": "50%"}


@pytest.mark.parametrize(
    ("name", "rate"),
    [("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12), ("NVIDIA A100-SXM4-80GB", 312e12), ("X", None)],
)
def test_known_gpus(name: str, rate: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_rate(torch.device("cuda", 0)) == rate
    assert peak_rate(CPU) is None
