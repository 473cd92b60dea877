"""A hub on this machine, as far as huggingface_hub and datasets ask one: repositories are folders."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_ofATest"


class SmallHub:
    """A context manager: serves `root/models/<owner>/<name>/` and `root/datasets/<owner>/<name>/` at `url`.

    Repositories whose owner is `gated` want `TOKEN`.
    """

    def __init__(self, root: Path) -> None:
        self.asked: list[str] = []
        handler = type("Handler", (_Handler,), {"root": root, "asked": self.asked})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> SmallHub:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path
    asked: list[str]

    def log_message(self, format: str, *arguments: object) -> None:
        self.asked.append(f"{self.command} {self.path}")

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        paths = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body).get("paths", [])
        self._answer(paths)

    def _answer(self, paths: list[str] | None = None) -> None:
        address = unquote(urlsplit(self.path).path).strip("/").split("/")
        if address[0] == "api" and address[1] in ("models", "datasets"):
            self._api(self.root.joinpath(*address[1:4]), address[4:], paths)
        else:
            kind = address.pop(0) if address[0] == "datasets" else "models"
            self._file(self.root.joinpath(kind, *address[:2]), address[2:])

    def _api(self, repository: Path, question: list[str], paths: list[str] | None) -> None:
        if self._refused(repository):
            return
        files = sorted(path for path in repository.rglob("*") if path.is_file())
        entries = [_entry(repository, path) for path in files]
        if question[:1] == ["tree"]:
            recursive = parse_qs(urlsplit(self.path).query).get("recursive") == ["true"]
            self._json(entries if recursive else _children(repository, repository.joinpath(*question[2:])))
        elif question[:1] == ["paths-info"]:
            self._json([entry for entry in entries if entry["path"] in (paths or [])])
        elif question[:1] in ([], ["revision"]):
            siblings = [{"rfilename": entry["path"]} for entry in entries]
            self._json({"id": "/".join(repository.parts[-2:]), "sha": COMMIT, "siblings": siblings, "private": False})
        else:
            self._status(404)

    def _file(self, repository: Path, question: list[str]) -> None:
        if self._refused(repository):
            return
        path = repository.joinpath(*question[2:])
        if question[:1] != ["resolve"] or not path.is_file():
            self._status(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return
        content = path.read_bytes()
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        self._send(200, content, {"ETag": etag, "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"})

    def _refused(self, repository: Path) -> bool:
        if repository.parent.name == "gated" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._status(401, {"X-Error-Code": "GatedRepo"})
            return True
        if not repository.is_dir():
            self._status(404, {"X-Error-Code": "RepoNotFound"})
            return True
        return False

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _status(self, code: int, headers: dict[str, str] | None = None) -> None:
        self._send(code, b"", headers or {})

    def _send(self, code: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _children(repository: Path, folder: Path) -> list[dict[str, Any]]:
    return [
        _entry(repository, path)
        if path.is_file()
        else {"type": "directory", "path": str(path.relative_to(repository)), "size": 0, "oid": "0" * 40}
        for path in sorted(folder.iterdir())
    ]


def _entry(repository: Path, path: Path) -> dict[str, Any]:
    oid = hashlib.sha1(path.read_bytes()).hexdigest()
    return {
        "type": "file",
        "path": str(path.relative_to(repository)),
        "size": path.stat().st_size,
        "oid": oid,
        "lastCommit": None,
    }
