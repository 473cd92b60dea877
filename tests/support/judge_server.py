"""An OpenAI-compatible chat server for tests: a deterministic judge that can fail, and a log of its requests."""

from __future__ import annotations

import json
import math
import re
import select
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from local_server import LocalServer

Verdicts = Mapping[str, float]
"""Verdict -> its probability; the first of the most likely ones is the answer."""
MATERIAL = re.compile(
    r"^(=== [0-9a-f]{16}) PROMPT\n(.*?)\n\1 RESPONSE(?: A)?\n(.*?)\n(?:\1 RESPONSE B\n(.*?)\n)?\1 END$", re.M | re.S
)


LOST = ("drop", "slow", "garbage")
"""Faults after which the client has no answer."""


def shown(message: str) -> list[str]:
    """Prompt and responses in a message of the built-in templates."""
    found = MATERIAL.search(message)
    assert found is not None, message
    return [text for text in found.groups()[1:] if text is not None]


def prefers(quality: Callable[[str, str], float]) -> Callable[[str], Verdicts]:
    """A pairwise judge that knows the quality of a response to a prompt."""

    def judge(message: str) -> Verdicts:
        prompt, first, second = shown(message)
        better = quality(prompt, first) - quality(prompt, second)
        return {"A" if better > 0 else "B" if better < 0 else "C": 1.0}

    return judge


def _has_gone(connection: socket.socket) -> bool:
    """Whether the other side has closed the connection."""
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable) and not connection.recv(1, socket.MSG_PEEK)


@dataclass
class JudgeServer(LocalServer):
    """Serves on a free local port while the context is open.

    `faults` are used up first, one per request: a status, `drop` (the connection is closed), `slow` (half an answer,
    then closed), `garbage` (200 and a web page), or a text that is the answer instead of a verdict.
    """

    judge: Callable[[str], Verdicts]
    faults: Sequence[int | str] = ()
    logprobs: bool = True
    retry_after: str | None = None
    counts_tokens: bool = True
    """Whether answers have `usage`."""
    answered: Counter[str] = field(default_factory=Counter)
    """Requests that got an answer, by their body."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    hold_from: int | None = None
    """After so many requests without a planned status or loss, the others are held back until `go_on` is set; `held` is
    set by the first of them."""
    held: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    path = "/v1"

    def __post_init__(self) -> None:
        self._faults, self._lock, self._let_through = list(self.faults), threading.Lock(), 0

    def serve(self, request: BaseHTTPRequestHandler, text: str) -> None:
        body = json.loads(text)
        with self._lock:
            self.bodies.append(body)
            self.headers.append(dict(request.headers))
            fault = self._faults.pop(0) if self._faults else None
            holds = self.hold_from is not None and self._let_through >= self.hold_from
            self._let_through += not holds and not isinstance(fault, int) and fault not in LOST
        if holds:
            self.held.set()
            self.go_on.wait()
        if _has_gone(request.connection):
            request.close_connection = True
        elif fault == "drop":
            request.close_connection = True
            request.connection.close()
        elif isinstance(fault, int):
            self._send(request, fault, {"error": {"message": text, "type": "planned", "code": "planned_fault"}})
        elif fault == "slow":
            request.send_response(200)
            request.send_header("Content-Length", "1000")
            request.end_headers()
            request.wfile.write(b'{"id"')
            request.close_connection = True
        elif fault == "garbage":
            self._send(request, 200, "<html>busy</html>")
        else:
            verdicts = self.judge(next(each["content"] for each in body["messages"] if each["role"] == "user"))
            answer = fault if isinstance(fault, str) else max(verdicts, key=verdicts.__getitem__)
            with self._lock:
                self.answered[json.dumps(body, sort_keys=True)] += 1
            self._send(request, 200, self._completion(body, answer, verdicts))

    def _completion(self, body: dict[str, Any], answer: str, verdicts: Verdicts) -> dict[str, Any]:
        listed = [{"token": name, "logprob": math.log(chance), "bytes": None} for name, chance in verdicts.items()]
        token = {"token": answer, "logprob": 0.0, "bytes": None, "top_logprobs": listed}
        asked = self.logprobs and body.get("logprobs")
        usage = {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101}
        return {
            "id": str(self.answered.total()),
            "object": "chat.completion",
            "created": self.answered.total(),
            "model": body["model"],
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": answer},
                    "logprobs": {"content": [token]} if asked else None,
                }
            ],
            "usage": usage if self.counts_tokens else None,
        }

    def _send(self, request: BaseHTTPRequestHandler, status: int, body: dict[str, Any] | str) -> None:
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        request.send_response(status)
        if self.retry_after is not None and status == 429:
            request.send_header("Retry-After", self.retry_after)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)
