"""The versions pinned in envs/."""

from pathlib import Path

ENVIRONMENTS = Path(__file__).resolve().parents[2] / "envs"


def pins(name: str) -> dict[str, str]:
    """Package -> exact version, from a requirements file or the `pip` section of a conda environment."""
    lines = (line.strip().removeprefix("- ") for line in (ENVIRONMENTS / name).read_text().splitlines())
    return dict(line.split("==", 1) for line in lines if "==" in line and not line.startswith("#"))
