"""Sampling a token, against its definition in NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhf.responses.engines.transformers import random_stream
from rlhf.responses.sampling import NUCLEUS_CANDIDATES, nucleus_threshold, sample_tokens
from rlhf.responses.settings import SamplingSettings
from sampling_by_definition import left_over, nucleus

TOP_P = st.floats(0.05, 0.999) | st.just(1.0)
"""Between these, the rounding of a sum of 32-bit probabilities decides which tokens of the tail are in the nucleus."""


def settings(temperature: float = 1.0, top_p: float = 1.0, **limits: Any) -> SamplingSettings:
    return SamplingSettings(temperature=temperature, top_p=top_p, **limits)


@st.composite
def distributions(draw_value: st.DrawFn) -> np.ndarray:
    """float32 probabilities of 1 to 300 tokens: flat, peaked, with ties."""
    size = draw_value(st.integers(1, 300))
    seed = draw_value(st.integers(0, 2**32 - 1))
    scale = draw_value(st.sampled_from([0.0, 0.1, 1.0, 5.0]))
    logits = scale * np.random.default_rng(seed).standard_normal(size)
    logits = np.round(logits, draw_value(st.sampled_from([0, 6])))
    return torch.softmax(torch.tensor(logits, dtype=torch.float32), dim=-1).numpy()


@given(distributions(), st.floats(0.01, 0.999))
def test_the_nucleus_is_the_smallest_set_that_reaches_top_p(probabilities: np.ndarray, top_p: float) -> None:
    threshold = float(nucleus_threshold(torch.tensor(probabilities)[None], top_p))
    kept = probabilities >= threshold
    assert set(np.flatnonzero(kept)) == set(np.flatnonzero(nucleus(probabilities, top_p)))


@given(distributions(), st.floats(0.01, 0.999))
def test_the_nucleus_reaches_top_p_and_needs_its_least_likely_token(probabilities: np.ndarray, top_p: float) -> None:
    threshold = float(nucleus_threshold(torch.tensor(probabilities)[None], top_p))
    exact = probabilities.astype(np.float64)
    assert exact[exact >= threshold].sum() >= min(top_p, exact.sum()) - 1e-12
    assert exact[exact > threshold].sum() < top_p + 1e-12


@pytest.mark.parametrize(
    ("top_p", "smallest"), [(0.5, 0.5), (0.500001, 0.25), (0.75, 0.25), (0.76, 0.125), (1.0, 0.125)]
)
def test_a_set_that_reaches_top_p_exactly_is_enough(top_p: float, smallest: float) -> None:
    assert float(nucleus_threshold(torch.tensor([[0.125, 0.5, 0.125, 0.25]]), top_p)) == smallest


@pytest.mark.parametrize("width", [4 * NUCLEUS_CANDIDATES[0], 4 * NUCLEUS_CANDIDATES[1]])
def test_a_nucleus_wider_than_the_first_candidates(width: int) -> None:
    """Beside a peaked row, so that one row alone asks for more candidates."""
    flat = torch.full((1, width), 1.0)
    flat[0, ::2] = 1.5
    flat = flat / flat.sum()
    peaked = torch.zeros_like(flat)
    peaked[0, 3] = 1.0
    thresholds = nucleus_threshold(torch.cat([flat, peaked]), 0.9).squeeze(-1)
    assert thresholds.tolist() == [flat.min().item(), 1.0]


@given(distributions(), TOP_P, st.floats(0, 1, exclude_max=True))
def test_a_draw_is_the_inverse_of_the_distribution_function(
    probabilities: np.ndarray, top_p: float, uniform: float
) -> None:
    logits = torch.tensor(probabilities).log()[None]
    token = int(sample_tokens(logits, torch.tensor([uniform], dtype=torch.float64), settings(top_p=top_p)))
    # The token's interval, widened by the rounding of softmax(log(p)), holds the number.
    distribution = nucleus(torch.softmax(logits[0], dim=-1).numpy(), top_p)
    upper = distribution[: token + 1].sum()
    assert upper - distribution[token] - 1e-9 <= uniform <= upper + 1e-9
    assert distribution[token] > 0


@given(distributions(), TOP_P)
def test_the_ends_of_the_unit_interval_stay_in_the_nucleus(probabilities: np.ndarray, top_p: float) -> None:
    logits = torch.tensor(probabilities).log()[None]
    distribution = nucleus(torch.softmax(logits[0], dim=-1).numpy(), top_p)
    for uniform, expected in ((0.0, 0), (1 - 2.0**-53, -1)):
        token = int(sample_tokens(logits, torch.tensor([uniform], dtype=torch.float64), settings(top_p=top_p)))
        assert token == np.flatnonzero(distribution)[expected]


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.8, 0.9), (2.0, 0.5), (0.3, 0.95)])
def test_frequencies_of_sampled_tokens(temperature: float, top_p: float) -> None:
    """100,000 draws against the exact distribution; the largest deviation stays below five standard errors."""
    count = 100_000
    logits = 1.5 * torch.randn(50, generator=torch.Generator().manual_seed(2))
    exact = nucleus(torch.softmax(logits.double() / temperature, dim=-1).numpy(), top_p)
    tokens = sample_tokens(
        logits.expand(count, -1), random_stream(11, count), settings(temperature=temperature, top_p=top_p)
    )
    observed = np.bincount(tokens.numpy(), minlength=50) / count
    assert observed[exact == 0].sum() == 0
    assert (np.abs(observed - exact) <= 5 * np.sqrt(exact * (1 - exact) / count) + 1e-12).all()


@pytest.mark.parametrize(
    "limits",
    [
        {"top_k": 3},
        {"top_k": 1},
        {"top_k": 500},
        {"min_p": 0.2},
        {"min_p": 0.1, "top_k": 8},
        {"top_k": 10, "top_p": 0.7},
        {"min_p": 0.1, "top_k": 12, "top_p": 0.8},
    ],
)
def test_frequencies_with_other_filters(limits: dict[str, Any]) -> None:
    count = 50_000
    logits = 1.5 * torch.randn(50, generator=torch.Generator().manual_seed(3))
    exact = left_over(torch.softmax(logits, dim=-1).numpy(), **limits)
    tokens = sample_tokens(logits.expand(count, -1), random_stream(12, count), settings(**limits))
    observed = np.bincount(tokens.numpy(), minlength=50) / count
    assert observed[exact == 0].sum() == 0
    assert (np.abs(observed - exact) <= 5 * np.sqrt(exact * (1 - exact) / count) + 1e-12).all()


@given(distributions(), st.floats(0.05, 1.0), st.integers(1, 40), st.floats(0, 0.9))
def test_sampled_tokens_pass_all_filters(probabilities: np.ndarray, top_p: float, top_k: int, min_p: float) -> None:
    logits = torch.tensor(probabilities).log()[None].expand(20, -1)
    numbers = torch.linspace(0, 0.999, 20, dtype=torch.float64)
    tokens = sample_tokens(logits, numbers, settings(top_p=top_p, top_k=top_k, min_p=min_p)).tolist()
    recomputed = torch.softmax(logits[0], dim=-1).numpy()
    widened = left_over(recomputed, min(1.0, top_p + 1e-6), top_k, max(0.0, min_p - 1e-6))
    assert (widened[tokens] > 0).all()
