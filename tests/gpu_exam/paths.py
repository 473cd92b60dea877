"""The slower implementation of packed attention, where the faster one would be used."""

from contextlib import AbstractContextManager
from unittest import mock

from rlhf.tokens import packed_attention


def segments_only() -> AbstractContextManager[object]:
    """Within, attention is computed segment by segment, also on a GPU."""
    return mock.patch.object(packed_attention, "flash_can_attend", return_value=False)
