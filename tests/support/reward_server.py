"""A reward server for tests: it gives prepared answers and records requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from local_server import LocalServer

Answer = tuple[int, str]
"""Status and body."""


def by_length(body: dict[str, Any]) -> Answer:
    """The length of each response; null for an empty one."""
    return 200, json.dumps({"scores": [len(text) or None for text in body["responses"]]})


@dataclass
class SmallRewardServer(LocalServer):
    """Serves on a free local port while the context is open."""

    answer: Callable[[dict[str, Any]], Answer] = by_length
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    path = "/score"

    def serve(self, request: BaseHTTPRequestHandler, text: str) -> None:
        body = json.loads(text)
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        status, answer = self.answer(body)
        request.send_response(status)
        request.send_header("Content-Length", str(len(answer.encode())))
        if 300 <= status < 400:
            request.send_header("Location", "/elsewhere")
        request.end_headers()
        request.wfile.write(answer.encode())
