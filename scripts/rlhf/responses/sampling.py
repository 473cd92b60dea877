"""Sampling the next token: temperature, min-p, top-k, nucleus (top-p), then inverse transform sampling."""

from __future__ import annotations

import torch

from rlhf.responses.settings import SamplingSettings

NUCLEUS_CANDIDATES = (64, 1024)
"""Numbers of most likely tokens to try for the nucleus before sorting the whole vocabulary."""


def sample_tokens(logits: torch.Tensor, uniform: torch.Tensor, sampling: SamplingSettings) -> torch.Tensor:
    """Sample one token per row, by inverting the cumulative distribution of the tokens that pass the filters.

    Args:
        logits: (rows, vocabulary), any floating dtype.
        uniform: uniform random numbers, float64 in [0, 1), (rows,).

    Returns:
        Token IDs, int64 (rows,). The cumulative sum runs in order of token IDs rather than probabilities, so that
        rounding that swaps two equally likely tokens does not change the draw.
    """
    probabilities = torch.softmax(logits.float() / sampling.temperature, dim=-1)
    kept = probabilities.where(probabilities >= least_probability(probabilities, sampling), 0.0)
    cumulative = kept.double().cumsum(-1)
    target = uniform[:, None] * cumulative[:, -1:]
    last = kept.shape[-1] - 1
    return torch.searchsorted(cumulative, target, right=True).squeeze(-1).clamp(max=last)


def least_probability(probabilities: torch.Tensor, sampling: SamplingSettings) -> torch.Tensor:
    """Smallest probability that passes the filters: min-p, then top-k, then the nucleus of the remaining tokens.

    Args:
        probabilities: float32 (rows, vocabulary).

    Returns:
        float32 (rows, 1). Tokens tied with the last one of a filter pass it too.
    """
    least = sampling.min_p * probabilities.amax(-1, keepdim=True)
    if sampling.top_k is not None and sampling.top_k < probabilities.shape[-1]:
        least = least.maximum(probabilities.topk(sampling.top_k).values[:, -1:])
    if sampling.top_p == 1.0:
        return least
    if sampling.min_p or sampling.top_k is not None:
        probabilities = probabilities.where(probabilities >= least, 0.0)
    return least.maximum(nucleus_threshold(probabilities, sampling.top_p))


def nucleus_threshold(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Smallest probability in the nucleus: the fewest most likely tokens that reach the share `top_p` of the row's sum.

    Args:
        probabilities: float32 (rows, vocabulary); rows may have any sum.

    Returns:
        float32 (rows, 1).
    """
    vocabulary = probabilities.shape[-1]
    mass = top_p * probabilities.double().sum(-1, keepdim=True)
    for candidates in (*(count for count in NUCLEUS_CANDIDATES if count < vocabulary), vocabulary):
        whole = candidates == vocabulary  # sorting is faster than topk here
        top = probabilities.sort(descending=True).values if whole else probabilities.topk(candidates).values
        cumulative = top.double().cumsum(-1)
        if whole or bool((cumulative[:, -1:] >= mass).all()):
            break
    last = (cumulative < mass).sum(-1, keepdim=True).clamp(max=candidates - 1)
    return top.gather(-1, last)
