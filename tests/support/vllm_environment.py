"""The environment with vLLM's CPU build that `make test` sets up (`.venv-vllm`)."""

import subprocess
from pathlib import Path

import pytest

PYTHON = Path(__file__).resolve().parents[2] / ".venv-vllm/bin/python"


def python_with_vllm() -> str:
    """Its interpreter; the test is skipped if there is none."""
    if not PYTHON.exists():
        pytest.skip("there is no environment with vLLM: `make .venv-vllm/installed` says why")
    imported = subprocess.run([PYTHON, "-c", "import vllm"], capture_output=True, text=True)
    if imported.returncode:
        pytest.skip(f"vLLM cannot be imported here: {imported.stderr.splitlines()[-1]}")
    return str(PYTHON)
