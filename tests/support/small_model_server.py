"""A tiny server in place of vLLM, as a program: python small_model_server.py PORT HOW FOLDER

It answers GET /health, and POST with its own process ID. It starts two more processes: one in its process group, and
one in a session of its own; FOLDER holds a file for each process, named by its ID. HOW: `ready`, `stubborn` (ignores
SIGTERM), `crash` (ends before it is ready), or `late` (is never ready).
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

port, how, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
if how in ("stubborn", "child"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
(folder / str(os.getpid())).touch()
if how == "child":
    time.sleep(1000)
for apart in (False, True):
    subprocess.Popen([sys.executable, __file__, "0", "child", str(folder)], start_new_session=apart)
while len(list(folder.iterdir())) % 3:
    time.sleep(0.01)
print("loading", flush=True)
if how == "crash":
    sys.exit("RuntimeError: the model is too large\nand more")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._send(503 if how == "late" else 200, {})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {"content": str(os.getpid()), "key": self.headers["Authorization"], "variables": dict(os.environ)}
        self._send(200, {"choices": [{"message": message}]})

    def _send(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
