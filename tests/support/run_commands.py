"""The commands about runs, as `make plan`, `make resume`, `make accept` and `make clean-temporary` start them."""

import os
import subprocess
from pathlib import Path

from warm_python import warm_python

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def run_command(
    name: str, *arguments: object, folder: Path, scripts: Path = SCRIPTS, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `workflow.commands.<name>` of a source tree in a folder, optionally with another PATH."""
    environment = {**os.environ, "PYTHONPATH": str(scripts), "PATH": path or os.environ["PATH"]}
    command = [str(warm_python()), "-m", f"workflow.commands.{name}", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
