"""In place of vLLM's command: it serves what a policy of known quality, or a judge, says, and notes what it answers."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmark_server import completion, judge, policy

GOODNESS = {"world": 1, "rebel-1": 3, "simpo-1": 1}
"""How good the answers of a policy are, by the folder that its checkpoint is in; the reference's are 1."""
FAULTS = (503, 0, 429, 0, 0, 500)
"""Statuses of the first requests; 0 answers. A server with the variable CALM has none."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("model", type=Path)
    parser.add_argument("--served-model-name")
    parser.add_argument("--port", type=int)
    arguments, _ = parser.parse_known_args()
    goodness = GOODNESS.get(arguments.model.parent.name, 0)
    of_policy = policy(lambda n: goodness, lambda n: n % 3 > 0)
    reply = judge if arguments.served_model_name == "judge" else of_policy
    faults = [] if "CALM" in os.environ else list(FAULTS)
    lock, answered = threading.Lock(), Path(os.environ["POLICY_ANSWERS"])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send(200, {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                fault = faults.pop(0) if faults else 0
                if not fault:
                    with answered.open("a") as lines:
                        lines.write(json.dumps([str(arguments.model), body], sort_keys=True) + "\n")
            self.send(fault or 200, {"error": {"message": "a fault"}} if fault else completion(body, reply(body)))

        def send(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *texts: object) -> None:
            pass

    print("serving", file=sys.stderr)
    ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler).serve_forever()
