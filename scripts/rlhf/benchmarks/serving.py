"""Servers of models on this machine, which live no longer than the process that owns them."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import httpx2

from rlhf.base.errors import UserError
from rlhf.benchmarks.servers.upstream import Connection, StoppedError

WATCHDOG = Path(__file__).with_name("servers") / "watchdog.py"
START_SECONDS = 1800.0
"""To load a large model and compile it."""
STOP_SECONDS = 10.0
"""Between SIGTERM and SIGKILL."""
LOOK_SECONDS = 0.2
IDLE_SECONDS = 2.0
"""A server without requests for so long may be stopped for another one."""
SETTINGS = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_DEBUG_LOG_API_SERVER_RESPONSE": "false",
    "VLLM_LOGGING_LEVEL": "INFO",  # DEBUG may log prompts
}
"""Environment variables of every server."""


class ModelServer:
    """A server in processes of its own, while the context is open.

    It ends with all its processes when the context closes and when this process dies, however that may be: a watchdog
    holds the reading end of a pipe. (What this process forks without `exec` holds the other end, too.)

    Args:
        name: in messages, such as `the policy`.
        command: the command for a port. It has to answer GET /health with 200 as soon as it is ready.
        environment: environment variables of the command, beside `SETTINGS`. It gets a key of its own as VLLM_API_KEY.
        log: file for what it prints; appended to.
        start_seconds: time until it has to be ready.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[int], Sequence[str]],
        environment: Mapping[str, str],
        log: Path,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self._name, self._command, self._log, self._start_seconds = name, command, log, start_seconds
        self._key = secrets.token_hex(16)
        self._environment = {**environment, **SETTINGS, "VLLM_API_KEY": self._key}
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def __enter__(self) -> Connection:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> Connection:
        """Start it and wait until it is ready.

        Raises:
            UserError: it ends, or is not ready in time.
        """
        port = _free_port()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(WATCHDOG), str(STOP_SECONDS), *self._command(port)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(port)
        except BaseException:
            self.stop()
            raise
        return Connection(f"http://127.0.0.1:{port}/v1", self._key)

    def check(self) -> None:
        """Raises UserError if it has ended."""
        if self._process is None or self._process.poll() is not None:
            raise UserError(f"{self._name}'s server has ended; its log says why: {self._log}")

    def stop(self) -> None:
        """End all its processes, and wait for that. Nothing happens if it does not run."""
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            process.wait(2 * STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait_until_ready(self, port: int) -> None:
        process, deadline = self._process, time.monotonic() + self._start_seconds
        with httpx2.Client(trust_env=False, timeout=LOOK_SECONDS * 10) as client:
            while not _is_ready(client, port):
                if process is None or process.poll() is not None:
                    status = "" if process is None else f" with status {process.returncode}"
                    raise UserError(f"{self._name}'s server has ended{status}: {self._last_error()}")
                if time.monotonic() > deadline:
                    raise UserError(
                        f"{self._name}'s server was not ready after {self._start_seconds:.0f} seconds: "
                        f"{self._last_error()}"
                    )
                time.sleep(LOOK_SECONDS)

    def _last_error(self) -> str:
        """The last line of this start's log that speaks of an error, or else the last one, and where the log is."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()]
        return f"{(errors or lines or ['it printed nothing'])[-1]} (log: {self._log})"


class OneAtATime:
    """Lets one of several servers run at a time, since they share the job's GPUs; all are stopped when it closes.

    A server is stopped for another one when none of its requests is in flight and none came for `IDLE_SECONDS`. So
    requests for a server that has to wait gather, and servers change rarely.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: ModelServer | None = None
        self._connection: Connection | None = None
        self._in_flight, self._idle_since = 0, 0.0
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._closed = True
        if (running := self._running) is not None:
            running.stop()  # without the lock, which `connect` holds while a server starts

    @contextmanager
    def connect(self, server: ModelServer) -> Iterator[Connection]:
        """Wait for the server's turn and start it, if it does not run; it runs until the context closes.

        Raises:
            UserError: it does not start, or has ended.
            StoppedError: this is closed.
        """
        with self._changed:
            while self._running not in (None, server) and not self._is_free():
                self._changed.wait(LOOK_SECONDS)
            connection = self._switch_to(server)
            self._in_flight += 1
        try:
            yield connection
        finally:
            with self._changed:
                self._in_flight -= 1
                self._idle_since = time.monotonic()
                self._changed.notify_all()

    def _is_free(self) -> bool:
        return self._closed or (not self._in_flight and time.monotonic() - self._idle_since >= IDLE_SECONDS)

    def _switch_to(self, server: ModelServer) -> Connection:
        if self._closed:
            raise StoppedError("the run has stopped")
        if self._running is server and self._connection is not None:
            server.check()
            return self._connection
        if self._running is not None:
            self._running.stop()
        self._running, self._connection = server, None
        try:
            self._connection = server.start()
        except UserError as error:
            raise (StoppedError("the run has stopped") if self._closed else error) from None
        if self._closed:  # it was closed when the server was about to start
            server.stop()
        return self._connection


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _is_ready(client: httpx2.Client, port: int) -> bool:
    try:
        return client.get(f"http://127.0.0.1:{port}/health").status_code == 200
    except httpx2.TransportError:
        return False
