"""The head and its log-softmax as one function, against torch's own, in value, gradient and memory."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rlhf.logprobs.head
from rlhf.logprobs.head import TokenLogprobs

WIDTH, VOCABULARY = 8, 40


def case(tokens: int, seed: int, bias: bool) -> tuple[torch.nn.Linear, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A head, hidden states, targets, and what the log-probabilities count in the loss."""
    torch.manual_seed(seed)
    hidden = 3 * torch.randn(tokens, WIDTH)
    return (
        torch.nn.Linear(WIDTH, VOCABULARY, bias=bias),
        hidden,
        torch.randint(VOCABULARY, (tokens,)),
        torch.randn(tokens),
    )


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 30),
    st.integers(0, 10**6),
    st.booleans(),
    st.sampled_from([0.5, 0.8, 2.0]),
    st.integers(1, 12),
    st.integers(1, 50),
)
def test_values_and_gradients_are_those_of_log_softmax_in_float64(
    tokens: int, seed: int, bias: bool, temperature: float, rows: int, columns: int
) -> None:
    head, hidden, targets, counts = case(tokens, seed, bias)
    found = hidden.clone().requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rlhf.logprobs.head, "TILE_TOKENS", rows)
        patch.setattr(rlhf.logprobs.head, "CPU_TILE_VOCABULARY", columns)
        values = TokenLogprobs(head, temperature)(found, targets)
        (values * counts).sum().backward()
    exact = hidden.double().requires_grad_()
    parameters = [parameter.detach().double().requires_grad_() for parameter in head.parameters()]
    logits = torch.nn.functional.linear(exact, *parameters) / temperature
    expected = torch.log_softmax(logits, dim=-1)[torch.arange(tokens), targets]
    (expected * counts).sum().backward()
    torch.testing.assert_close(values.double(), expected, rtol=0, atol=1e-5)
    for tensor, reference in zip([found, *head.parameters()], [exact, *parameters], strict=True):
        assert tensor.grad is not None
        assert reference.grad is not None
        torch.testing.assert_close(tensor.grad.double(), reference.grad, rtol=1e-4, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30), st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 50))
def test_expected_probabilities_are_those_of_float64_and_change_nothing_else(
    tokens: int, seed: int, rows: int, columns: int
) -> None:
    """log sum_v p(v)^2, in tiles; log-probabilities and gradients are the same to the bit."""
    head, hidden, targets, counts = case(tokens, seed, bias=True)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rlhf.logprobs.head, "TILE_TOKENS", rows)
        patch.setattr(rlhf.logprobs.head, "CPU_TILE_VOCABULARY", columns)
        for expected in (False, True):
            inputs = hidden.clone().requires_grad_()
            values = TokenLogprobs(head, 0.8)(inputs, targets, expected)
            logprobs = values[:, 0] if expected else values
            (logprobs * counts).sum().backward()
            assert inputs.grad is not None
            found.append((logprobs.detach(), inputs.grad))
    for first, second in zip(*found, strict=True):
        assert torch.equal(first, second)
    logits = torch.nn.functional.linear(hidden.double(), head.weight.double(), head.bias.double()) / 0.8
    exact = torch.softmax(logits, dim=-1).square().sum(1).log()
    torch.testing.assert_close(values[:, 1].detach().double(), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("large", [1e4, -1e4])
def test_large_logits_neither_overflow_nor_vanish(large: float) -> None:
    head = torch.nn.Linear(1, 3, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[large], [0.0], [-large]]))
    hidden = torch.ones(1, 1, requires_grad=True)
    value = TokenLogprobs(head, 1.0)(hidden, torch.tensor([1]))
    value.sum().backward()
    assert value.item() == -1e4
    assert hidden.grad is not None
    assert hidden.grad.item() == -1e4  # of the middle logit, 0, less that of the largest


def test_under_autocast_products_are_bfloat16_and_gradients_float32() -> None:
    head, hidden, targets, counts = case(20, 0, bias=False)
    hidden.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = TokenLogprobs(head, 0.8)(hidden, targets)
    (values * counts).sum().backward()
    logits = ((hidden / 0.8).bfloat16() @ head.weight.bfloat16().T).double()
    expected = torch.log_softmax(logits, dim=-1)[torch.arange(20), targets]
    torch.testing.assert_close(values.double(), expected, rtol=0, atol=1e-5)
    assert head.weight.grad is not None
    assert values.dtype == head.weight.grad.dtype == torch.float32
    exact = torch.autograd.grad(
        (torch.log_softmax(head(hidden) / 0.8, -1)[torch.arange(20), targets] * counts).sum(), [head.weight, hidden]
    )
    for found, reference in zip((head.weight.grad, hidden.grad), exact, strict=True):
        assert found is not None
        assert float((found - reference).norm() / reference.norm()) < 2e-2


def test_a_frozen_head_gets_no_gradient() -> None:
    head, hidden, targets, _ = case(5, 1, bias=False)
    head.requires_grad_(False)
    hidden.requires_grad_()
    TokenLogprobs(head, 1.0)(hidden, targets).sum().backward()
    assert head.weight.grad is None
    assert hidden.grad is not None


def test_logits_are_computed_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, ...]] = []
    linear = torch.nn.functional.linear

    def recorded(*arguments: torch.Tensor) -> torch.Tensor:
        logits = linear(*arguments)
        sizes.append(tuple(logits.shape))
        return logits

    monkeypatch.setattr(rlhf.logprobs.head.functional, "linear", recorded)
    monkeypatch.setattr(rlhf.logprobs.head, "TILE_TOKENS", 8)
    monkeypatch.setattr(rlhf.logprobs.head, "CPU_TILE_VOCABULARY", 30)
    head, hidden, targets, _ = case(10, 2, bias=False)
    TokenLogprobs(head, 1.0)(hidden, targets)
    assert sizes == [(8, 30), (8, 10), (2, 30), (2, 10)]
