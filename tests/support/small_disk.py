"""A small disk, to fill up."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")


class SmallDisk:
    """A context manager that mounts a tmpfs of a given size on a folder. Needs root."""

    def __init__(self, folder: Path, size: str) -> None:
        self.folder, self.size = folder, size

    def __enter__(self) -> SmallDisk:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.size}", "tmpfs", self.folder], check=True)
        return self

    def resize(self, size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True)

    def __exit__(self, *exception: object) -> None:
        subprocess.run(["umount", self.folder], check=True)
