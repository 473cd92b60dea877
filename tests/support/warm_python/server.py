"""Runs programs in forks of a process in which the large libraries are loaded.

Started as `server.py ADDRESS`; it ends when its standard input does, and removes the folder of its address. Each
program gets the arguments, the folder, the environment and the standard streams of its client, and nothing of this
project is loaded before it.
"""

import atexit
import gc
import json
import os
import select
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path
from types import CodeType
from typing import Any

LARGE = (
    "torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "tokenizers",
    "accelerate",
    "datasets",
    "scipy.stats",
    "matplotlib.figure",
    "pyarrow.parquet",
    "pydantic.main",
)


def serve(address: str) -> dict[str, Any]:
    """Answer clients until the standard input ends. Returns, with the request, in each fork that becomes a program."""
    for name in LARGE:
        __import__(name)
    gc.freeze()  # so that a fork does not write to the pages of what is loaded
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.new")
        listener.listen(64)
        Path(f"{address}.new").rename(address)
        while sys.stdin not in (ready := select.select([listener, sys.stdin], [], [])[0]):
            client = ready[0].accept()[0]
            if os.fork() == 0:
                listener.close()
                return keep(client)
            client.close()
    shutil.rmtree(Path(address).parent)
    sys.exit()


def keep(client: socket.socket) -> dict[str, Any]:
    """In a fork of the server: tell the client the program's process, and how it ends. Returns in that process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, _, _ = socket.recv_fds(client, 4, 3)
    asked: dict[str, Any] = json.loads(client.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
    process = os.fork()
    if process == 0:
        client.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return asked
    client.sendall(process.to_bytes(4, "big", signed=True))
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    client.sendall(status.to_bytes(4, "big", signed=True))
    os._exit(0)


def become(arguments: list[str], folder: str, environment: dict[str, str]) -> CodeType:
    """Make this process what it would be had Python been started for the program; returns its code."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    program = Path(arguments[0]).resolve()
    added = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.argv, sys.path[:1] = arguments, [str(program.parent), *added]
    return compile(program.read_text(), arguments[0], "exec", dont_inherit=True)


def run(code: CodeType) -> int:
    """Run the program; returns its exit status. What it does not catch ends this process as any other."""
    scope = sys.modules["__main__"].__dict__
    scope["__file__"] = sys.argv[0]
    try:
        exec(code, scope)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
            return 1
        return int(ended.code or 0)
    return 0


def end(status: int) -> None:
    """End as the interpreter does, but for freeing all modules, which takes as long as it took to load them."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    end(run(become(**serve(sys.argv[1]))))
