"""An OpenAI-compatible chat server for tests, which plays a policy or a judge of the benchmark libraries."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from benchmark_questions import letter, total
from local_server import LocalServer

Body = dict[str, Any]
Reply = str | Mapping[str, float] | int
"""A text; a token with the probabilities of all likely ones; or a status that refuses the request."""


@dataclass
class ChatServer(LocalServer):
    """Answers by a function of the request, and keeps the requests."""

    reply: Callable[[Body], Reply]
    bodies: list[Body] = field(default_factory=list)
    token_ids: Callable[[str, str], tuple[list[int], list[int]]] | None = None
    """Token ids of a question and of the answer, for requests that ask for them as vLLM's server has it."""

    path = "/v1"

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def serve(self, request: BaseHTTPRequestHandler, text: str) -> None:
        body = json.loads(text)
        with self._lock:
            self.bodies.append(body)
        reply = self.reply(body)
        if isinstance(reply, int):
            _send(request, reply, {"error": {"message": f"not taken: {text}", "type": "refused", "code": None}})
        else:
            answer = completion(body, reply)
            if self.token_ids is not None and body.get("return_token_ids"):
                said = answer["choices"][0]
                asked, said["token_ids"] = self.token_ids(last_text(body), said["message"]["content"])
                answer["prompt_token_ids"] = asked
            _send(request, 200, answer)


def last_text(body: Body) -> str:
    """The last message of a request."""
    return str(body["messages"][-1]["content"])


def number(text: str) -> int:
    """n of the last "Question n"."""
    return int(re.findall(r"Question (\d+)", text)[-1])


def quality(text: str) -> int:
    """How good an answer is: it counts one word."""
    return len(re.findall(r"\bgood\b", text))


def policy(goodness: Callable[[int], int], knows: Callable[[int], bool] = lambda n: True) -> Callable[[Body], Reply]:
    """A policy whose answer to question n is as good as said, and right if it knows it."""

    def reply(body: Body) -> Reply:
        text = last_text(body)
        n = number(text)
        if "ANSWER:" in text:
            return f"ANSWER: {letter(n) if knows(n) else letter(n + 1)}"
        if "boxed" in text:
            return f"It is \\boxed{{{total(n) if knows(n) else 1}}}."
        if "as you are told" in text:
            return "As told." if knows(n) else "As told, or not."
        return "A good answer of the reference." if goodness(n) == 1 else "An answer," + " good" * goodness(n) + "."

    return reply


def judge(body: Body) -> Reply:
    """Fair verdicts in the form that each benchmark asks for."""
    text = last_text(body)
    if "[The Start of Assistant's Answer]" in text:
        return _rating(text.split("[The Start of Assistant's Answer]")[1])
    if "<|The Start of Assistant's Conversation with User|>" in text:
        return _rating(text.rsplit("### Assistant:", 1)[1])
    shown = re.findall(r"<\|The Start of Assistant [AB]'s Answer\|>\n(.*?)\n<\|The End", text, re.S)
    if shown:
        return json.dumps({"reasoning": "They differ.", "verdict": _verdict(quality(shown[0]) - quality(shown[1]))})
    first, second = re.findall(r'"output": """(.*?)"""', text, re.S)
    return shares(quality(first) - quality(second))


def shares(difference: int) -> dict[str, float]:
    """Probabilities of AlpacaEval's tokens: `m` is the answer that is shown first."""
    first = 1 / (1 + math.exp(-difference))
    return {"m": first, "M": 1 - first}


def _rating(answer: str) -> str:
    return json.dumps({"explanation": "It says so.", "score": min(10, 1 + quality(answer))})


def _verdict(difference: int) -> str:
    if abs(difference) > 1:
        return "A>>B" if difference > 0 else "B>>A"
    return {1: "A>B", 0: "A=B", -1: "B>A"}[difference]


def completion(body: Body, reply: str | Mapping[str, float]) -> Body:
    text = reply if isinstance(reply, str) else max(reply, key=reply.__getitem__)
    listed = (
        []
        if isinstance(reply, str)
        else [{"token": t, "logprob": math.log(p), "bytes": None} for t, p in reply.items()]
    )
    token = {"token": text, "logprob": 0.0, "bytes": None, "top_logprobs": listed}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text},
                "logprobs": {"content": [token]} if body.get("logprobs") else None,
            }
        ],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": len(text.split()),
            "total_tokens": 100 + len(text.split()),
        },
    }


def _send(request: BaseHTTPRequestHandler, status: int, body: Body) -> None:
    content = json.dumps(body).encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)
