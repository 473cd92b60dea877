"""Names of parts, and the rows behind them: fixed-size slices of a split, train from the start, test from the end."""

from rlhf.base.settings import Settings


class Rows(Settings):
    """Rows [start, stop) of the prompts; negative numbers count from the end, and a stop of 0 is the end."""

    start: int
    """First row."""
    stop: int
    """Row after the last one; 0 with a negative start is the end."""


def part_names(split: str, size: int, part_size: int) -> list[str]:
    """`train-000`, `train-001`, ... for a split of `size` prompts."""
    return [f"{split}-{index:03d}" for index in range(-(-size // part_size))]


def part_rows(part: str, size: int, part_size: int) -> Rows:
    """The rows of a part in a split of `size` prompts. Only the last part of a split depends on `size`."""
    split, index = part.rsplit("-", 1)
    start = int(index) * part_size
    stop = min(start + part_size, size)
    return Rows(start=start, stop=stop) if split == "train" else Rows(start=-stop, stop=-start)
