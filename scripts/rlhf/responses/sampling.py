"""The next token of each sequence: temperature, min-p, top-k, nucleus, and a draw by a given uniform number."""

from __future__ import annotations

import torch

from rlhf.responses.settings import SamplingSettings

NUCLEUS_CANDIDATES = (64, 1024)
"""How many of the most likely tokens are looked at for the nucleus before all of them are sorted."""


def sample_tokens(logits: torch.Tensor, uniform: torch.Tensor, sampling: SamplingSettings) -> torch.Tensor:
    """One token per row by inversion of the distribution function of the tokens that are left.

    Args:
        logits: (rows, vocabulary), any floating type.
        uniform: (rows,), float64 in [0, 1).

    Returns:
        int64 of shape (rows,). Tokens are summed up in the order of their ids, not of their probabilities: so rounding
        that swaps two equally likely tokens does not change the draw.
    """
    probabilities = torch.softmax(logits.float() / sampling.temperature, dim=-1)
    kept = probabilities.where(probabilities >= least_probability(probabilities, sampling), 0.0)
    cumulative = kept.double().cumsum(-1)
    target = uniform[:, None] * cumulative[:, -1:]
    last = kept.shape[-1] - 1
    return torch.searchsorted(cumulative, target, right=True).squeeze(-1).clamp(max=last)


def least_probability(probabilities: torch.Tensor, sampling: SamplingSettings) -> torch.Tensor:
    """Probability of the least likely token that may be drawn: by min-p, then top-k, then the nucleus of what is left.

    Args:
        probabilities: (rows, vocabulary), float32.

    Returns:
        (rows, 1). Tokens exactly as likely as the last one of a limit are within it.
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
    """Smallest probability in the nucleus: the fewest most likely tokens that have the share `top_p` of the row's sum.

    Args:
        probabilities: (rows, vocabulary), float32, of any sum.

    Returns:
        (rows, 1).
    """
    vocabulary = probabilities.shape[-1]
    mass = top_p * probabilities.double().sum(-1, keepdim=True)
    for candidates in (*(count for count in NUCLEUS_CANDIDATES if count < vocabulary), vocabulary):
        whole = candidates == vocabulary  # then sorting is faster
        top = probabilities.sort(descending=True).values if whole else probabilities.topk(candidates).values
        cumulative = top.double().cumsum(-1)
        if whole or bool((cumulative[:, -1:] >= mass).all()):
            break
    last = (cumulative < mass).sum(-1, keepdim=True).clamp(max=candidates - 1)
    return top.gather(-1, last)
