"""A prompt with the responses to it, as token ids. Without torch: schemas import this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TokenIds = Sequence[int] | NDArray[np.int32]


@dataclass(frozen=True)
class PromptGroup:
    """A prompt and responses to it, as token ids (NumPy views where they lie in Arrow).

    A response is empty where it is not to be computed.
    """

    prompt: TokenIds
    responses: Sequence[TokenIds]

    @property
    def tokens(self) -> int:
        """Number of tokens, the prompt counted once."""
        return len(self.prompt) + sum(map(len, self.responses))
