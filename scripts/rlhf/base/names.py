"""Names of policies, and of parts with the rows behind them: train from the start of the prompts, test from the end."""

import re

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


def variant_and_iteration(policy: str) -> tuple[str, int]:
    """`rebel-2` is iteration 2 of the variant `rebel`.

    Raises:
        ValueError: the name has another form; `base` has, too.
    """
    variant, iteration = split_name(policy)
    if variant == policy:
        raise ValueError(f"{policy!r} is not <variant>-<iteration>")
    return variant, iteration


def split_name(policy: str) -> tuple[str, int]:
    """Variant and iteration of a policy; any other name, such as `base`, with iteration 0."""
    match = re.fullmatch(r"(.+)-(\d+)", policy)
    return (match[1], int(match[2])) if match else (policy, 0)


def parent(policy: str) -> str:
    """The policy whose data trained this one: `base` for `rebel-1`, `rebel-1` for `rebel-2`."""
    variant, iteration = variant_and_iteration(policy)
    return "base" if iteration == 1 else f"{variant}-{iteration - 1}"
