"""A reward server for tests: it gives prepared answers and records requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self

Answer = tuple[int, str]
"""Status and body."""


def by_length(body: dict[str, Any]) -> Answer:
    """The length of each response; null for an empty one."""
    return 200, json.dumps({"scores": [len(text) or None for text in body["responses"]]})


@dataclass
class SmallRewardServer:
    """Serves on a free local port while the context is open."""

    answer: Callable[[dict[str, Any]], Answer] = by_length
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.append(body)
                outer.headers.append(dict(self.headers))
                status, text = outer.answer(body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text.encode())))
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/score"
