"""What the tests of the relay share."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlhf.benchmarks.servers import upstream as upstream_module


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    monkeypatch.setattr(upstream_module, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(upstream_module, "LONGEST_DELAY", 0.001)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a journal."""
    return tmp_path / "journal"
