"""What a sweep has chosen."""

from pathlib import Path

from rlhf.base.errors import UserError
from rlhf.evaluation.schema import SWEEP


def chosen_point(path: Path, rank: int) -> str:
    """The name of the point that a sweep promotes at this rank.

    Raises:
        UserError: the file promotes none at this rank, or is damaged.
    """
    for row in SWEEP.read(path, ["name", "promoted"]).to_pylist():
        if row["promoted"] == rank:
            return str(row["name"])
    raise UserError(f"{path}: no point is promoted at rank {rank}: delete the file, and it is made again")
