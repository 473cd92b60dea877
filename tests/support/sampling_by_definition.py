"""Reference implementation of sampling in numpy: the distribution, and the token drawn by a uniform number."""

import numpy as np


def nucleus(probabilities: np.ndarray, top_p: float) -> np.ndarray:
    """The nucleus distribution: the fewest most likely tokens that reach top_p, and ties with the last of them."""
    ordered = np.sort(probabilities)[::-1].astype(np.float64)
    total = 0.0
    for smallest in ordered:
        total += smallest
        if total >= top_p:
            break
    kept = (np.where(probabilities >= smallest, probabilities, 0) if top_p < 1 else probabilities).astype(np.float64)
    return kept / kept.sum()


def draw(probabilities: np.ndarray, uniform: float) -> int:
    """Inversion: the first token, by id, whose cumulative probability exceeds the uniform number."""
    total = 0.0
    for token, probability in enumerate(probabilities):
        total += probability
        if total > uniform:
            return token
    return int(np.flatnonzero(probabilities)[-1])


def left_over(
    probabilities: np.ndarray, top_p: float = 1.0, top_k: int | None = None, min_p: float = 0.0
) -> np.ndarray:
    """The distribution after min-p, then top-k, then the nucleus, each applied to what is left by the one before."""
    kept = np.where(probabilities >= np.float32(min_p) * probabilities.max(), probabilities, 0)
    if top_k is not None and top_k < len(kept):
        kept = np.where(kept >= np.sort(kept)[-top_k], kept, 0)
    return nucleus(kept / kept.sum(dtype=np.float64), top_p)
