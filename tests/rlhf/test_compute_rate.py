"""What a training step costs, against a count of its products, and the share of a GPU's rate."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import rlhf.compute_rate
from rlhf.adapters import add_adapters
from rlhf.compute_rate import ComputeMeter, peak_rate
from rlhf.packing import Pack
from rlhf.pair_logprobs import prompt_group
from rlhf.sequence_logprobs import ResponseLogprobs
from rlhf.training import LoraSettings
from small_models import CPU, random_pairs, small_llama


def counted(pack: Pack, adapters: bool) -> float:
    """Operations of forward and backward that torch counts, without attention and the head's second forward."""
    policy = small_llama(vocabulary=2048)
    if adapters:
        add_adapters(policy, LoraSettings(rank=1, alpha=1))
    model = ResponseLogprobs(policy, 1.0)
    with FlopCounterMode(display=False) as counter:
        model(pack).sum().backward()
    by_operator = counter.get_flop_counts()["Global"]
    products = sum(count for operator, count in by_operator.items() if str(operator) in ("aten.mm", "aten.addmm"))
    head = 2 * policy.get_output_embeddings().weight.numel() * len(pack.response_tokens().targets)
    return products - head


@pytest.mark.parametrize("adapters", [False, True], ids=["all weights", "adapters"])
def test_operations_are_those_of_the_products(adapters: bool) -> None:
    pack = Pack([prompt_group(pair) for pair in random_pairs(8, longest=30)], CPU)
    meter = ComputeMeter(small_llama(vocabulary=2048), CPU, 1, adapters=adapters)
    assert meter.count(pack.input_ids.numel(), len(pack.response_tokens().targets)) == {}
    assert meter.operations == pytest.approx(counted(pack, adapters), rel=0.1)


def test_the_share_is_of_all_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = small_llama()
    monkeypatch.setattr(rlhf.compute_rate, "peak_rate", lambda device: 1e9)
    clock = iter([100.0, 102.0])
    monkeypatch.setattr(rlhf.compute_rate.time, "monotonic", lambda: next(clock))
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
