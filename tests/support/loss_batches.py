"""Batches of pairs for the losses: made-up log-probabilities, rewards, win probabilities and lengths."""

import numpy as np
import torch
from hypothesis import strategies as st

from rlhf.training.loss import PairBatch

logprob = st.floats(-500, 0, width=32)
reward = st.floats(-2, 2, width=32)
length = st.integers(1, 3000)
win = st.floats(0, 1, width=32)
rows = st.tuples(logprob, logprob, logprob, logprob, reward, reward, win, win, length, length)
"""One pair, in the order of `PairBatch`."""


def batch_of(*columns: float | np.ndarray, dtype: torch.dtype = torch.float32) -> PairBatch:
    """Columns in the order of `PairBatch`; scalars make a batch of one."""
    return PairBatch(*(torch.as_tensor(np.atleast_1d(column), dtype=dtype) for column in columns))


def random_columns(seed: int, count: int = 50) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    logprobs = -random.uniform(5, 60, (4, count))
    rewards = random.uniform(-1, 1, (2, count))
    wins = random.uniform(0, 1, (2, count))
    tokens = random.integers(1, 80, (2, count)).astype(float)
    # What float32 holds, so that the formula in float64 gets the very same numbers.
    return list(np.concatenate([logprobs, rewards, wins, tokens]).astype(np.float32).astype(np.float64))


def swapped(row: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(row[index ^ 1] for index in range(len(row)))
