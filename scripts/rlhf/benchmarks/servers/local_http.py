"""The HTTP server of the relay, for programs on this machine that have its key."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple

from rlhf.base.errors import UserError

WAITING_CONNECTIONS = 1024
LOOK_SECONDS = 0.05
"""Time between two looks for `shutdown`."""
NO_PATH = "no such path"
STOPPED = "the run has stopped; the program that started it says why"


class Reply(NamedTuple):
    """An answer: a body, or the message of an error."""

    status: int
    content: dict[str, Any] | str

    def encode(self) -> bytes:
        """The body, JSON."""
        if isinstance(self.content, str):
            error = {"message": self.content, "type": "relay", "code": "relay", "param": None}
            return json.dumps({"error": error}).encode()
        return json.dumps(self.content).encode()


class RelayServer(ThreadingHTTPServer):
    """Serves chat completions on a free port, a thread for each connection.

    Args:
        key: what a client has to send as its key.
        models: for each side, that is each first part of a path, the list of its models.
        answer: answers a side's request; it raises UserError if the run has to stop.
        on_error: gets that error, and any other, which is a bug.
    """

    request_queue_size = WAITING_CONNECTIONS

    def __init__(
        self,
        key: str,
        models: Mapping[str, dict[str, Any]],
        answer: Callable[[str, dict[str, Any]], Reply],
        on_error: Callable[[BaseException], None],
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key, self.models, self.answer, self.on_error = key, models, answer, on_error

    def start(self) -> None:
        """Serve until `shutdown`."""
        Thread(target=self.serve_forever, args=(LOOK_SECONDS,), daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):  # the client may go when it likes
            self.on_error(error)


class _Handler(BaseHTTPRequestHandler):
    server: RelayServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        side = self._side("/v1/models")
        self._send(Reply(404, NO_PATH) if side is None else Reply(200, dict(self.server.models[side])))

    def do_POST(self) -> None:
        if not (self.headers["Content-Length"] or "").isdecimal():
            self.close_connection = True
            self._send(Reply(411, "a request needs its length"))
            return
        text = self.rfile.read(int(self.headers["Content-Length"]))
        side = self._side("/v1/chat/completions")
        self._send(Reply(404, NO_PATH) if side is None else self._answer(side, text))

    def _answer(self, side: str, text: bytes) -> Reply:
        given = self.headers["Authorization"] or ""
        if not secrets.compare_digest(given.encode(), f"Bearer {self.server.key}".encode()):
            return Reply(401, "this is not the relay's key")
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            return Reply(400, "the request is no JSON object")
        try:
            return self.server.answer(side, body)
        except UserError as error:
            self.server.on_error(error)
            return Reply(403, STOPPED)

    def _side(self, path: str) -> str | None:
        """The side in the path of the request; None if it is another path."""
        side = self.path.removesuffix(path).removeprefix("/")
        return side if side in self.server.models and self.path == f"/{side}{path}" else None

    def _send(self, reply: Reply) -> None:
        content = reply.encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""
