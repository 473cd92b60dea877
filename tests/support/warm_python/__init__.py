"""An interpreter whose programs start in a process with torch and transformers loaded: in a second, not in ten.

Most of the time of a pipeline of small models goes into importing libraries, once for each job. A program that starts
warm is the same program in a process of its own; it only has another parent. What tests compare with its results comes
from programs that were started as users start them: on Slurm, under kill -9, in conda. Tests of signals, of memory and
of starting itself do not use it.
"""

import os
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

HERE = Path(__file__).parent
SECONDS = 300
"""In which the libraries are loaded."""


@cache
def warm_python() -> Path:
    """An interpreter that has what this one has, for Snakemake: it finds `warm_program()` beside it, and calls that."""
    folder, environment = Path(mkdtemp(prefix="warm-")), Path(sys.prefix)
    (folder / "bin").mkdir()
    shutil.copy(environment / "pyvenv.cfg", folder)
    (folder / "lib").symlink_to(environment / "lib")
    for program in (environment / "bin").iterdir():
        (folder / "bin" / program.name).symlink_to(program.resolve() if "python" in program.name else program)
    address, python = folder / "server", folder / "bin/python"
    python.unlink()
    python.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -IS "{HERE / "client.py"}" "{address}" "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    start_server(address)
    return folder / "bin/python3"


def warm_program() -> Path:
    """What runs a program's file warm, and is an ordinary interpreter for all else."""
    return warm_python().with_name("python")


def start_server(address: Path) -> None:
    """Start the server, which ends with this process: it holds the server's standard input open."""
    variables = {**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "0"}
    server = subprocess.Popen([sys.executable, HERE / "server.py", address], stdin=subprocess.PIPE, env=variables)
    SERVERS.append(server)
    deadline = time.monotonic() + SECONDS
    while not address.exists():
        assert server.poll() is None, "the server of warm programs has ended"
        assert time.monotonic() < deadline, "the server of warm programs does not start"
        time.sleep(0.1)


SERVERS: list["subprocess.Popen[bytes]"] = []
"""Kept, so that their standard inputs stay open."""
