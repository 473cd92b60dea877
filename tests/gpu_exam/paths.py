"""The slower path of packed attention, where the faster one would be taken."""

from contextlib import AbstractContextManager
from unittest import mock

from rlhf.tokens import packed_attention


def segments_only() -> AbstractContextManager[object]:
    """Within, attention is computed segment by segment on a GPU too."""
    return mock.patch.object(packed_attention, "flash_can_attend", return_value=False)
