"""A local hub for huggingface_hub and datasets, with folders as repositories."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_ofATest"


class SmallHub:
    """A context manager: serves `root/models/<owner>/<name>/` and `root/datasets/<owner>/<name>/` at `url`.

    The files of repositories whose owner is `gated` want `TOKEN`. Each repository starts with one commit, `COMMIT`.
    """

    def __init__(self, root: Path) -> None:
        self.asked: list[str] = []
        self._root = root
        self._older: dict[Path, dict[str, Path]] = {}
        self._newest: dict[Path, str] = {}
        state = {"root": root, "asked": self.asked, "older": self._older, "newest": self._newest}
        handler = type("Handler", (self.handler(),), {**state, **self.state()})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def handler(self) -> type[HubHandler]:
        """What answers requests."""
        return HubHandler

    def state(self) -> dict[str, Any]:
        """More attributes of the handler."""
        return {}

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def push(self, repository: str, commit: str) -> Path:
        """Keep the repository's (`models/<owner>/<name>`) contents as an older commit; `commit` becomes the newest.

        Returns:
            its folder: edit there what the new commit changes.
        """
        folder = self._root / repository
        older = self._older.setdefault(folder, {})
        kept = self._root / "older" / repository / str(len(older))
        shutil.copytree(folder, kept)
        older[self._newest.get(folder, COMMIT)] = kept
        self._newest[folder] = commit
        return folder


class HubHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path
    asked: list[str]
    older: dict[Path, dict[str, Path]]
    newest: dict[Path, str]

    def log_message(self, format: str, *arguments: object) -> None:
        self.asked.append(f"{self.command} {self.path}")

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.post(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())

    def post(self, body: str) -> None:
        paths = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body).get("paths", [])
        self._answer(paths)

    def _answer(self, paths: list[str] | None = None) -> None:
        address = unquote(urlsplit(self.path).path).strip("/").split("/")
        if address[0] == "api" and address[1] in ("models", "datasets"):
            self._api(self.root.joinpath(*address[1:4]), address[4:], paths)
        else:
            kind = address.pop(0) if address[0] == "datasets" else "models"
            self._file(self.root.joinpath(kind, *address[:2]), address[2:])

    def is_private(self, repository: Path) -> bool:
        return False

    def _commit(self, repository: Path, revision: str) -> tuple[str, Path]:
        """The commit of a revision, and the folder with its files."""
        older = self.older.get(repository, {})
        return (revision, older[revision]) if revision in older else (self.newest.get(repository, COMMIT), repository)

    def _api(self, repository: Path, question: list[str], paths: list[str] | None) -> None:
        facts = question[:1] in ([], ["revision"])
        if self._refused(repository, open_to_all=facts):
            return
        owner, name = repository.parts[-2:]
        private = self.is_private(repository)
        commit, repository = self._commit(repository, question[1] if len(question) > 1 else "main")
        files = sorted(path for path in repository.rglob("*") if path.is_file())
        entries = [_entry(repository, path) for path in files]
        if question[:1] == ["tree"]:
            folder = repository.joinpath(*question[2:])
            if not folder.is_dir():
                self.status(404, {"X-Error-Code": "EntryNotFound"})
                return
            recursive = parse_qs(urlsplit(self.path).query).get("recursive") == ["true"]
            self.json(entries if recursive else _children(repository, folder))
        elif question[:1] == ["paths-info"]:
            self.json([entry for entry in entries if entry["path"] in (paths or [])])
        elif question[:1] == ["auth-check"]:
            self.json({})
        elif facts:
            siblings = [{"rfilename": entry["path"]} for entry in entries]
            gated = "manual" if owner == "gated" else False
            about = {"id": f"{owner}/{name}", "sha": commit, "private": private, "gated": gated}
            self.json({**about, "siblings": siblings})
        else:
            self.status(404)

    def _file(self, repository: Path, question: list[str]) -> None:
        if self._refused(repository):
            return
        commit, repository = self._commit(repository, question[1])
        path = repository.joinpath(*question[2:])
        if question[:1] != ["resolve"] or not path.is_file():
            self.status(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        content = path.read_bytes()
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        self._send(200, content, {"ETag": etag, "X-Repo-Commit": commit, "Accept-Ranges": "bytes"})

    def _refused(self, repository: Path, open_to_all: bool = False) -> bool:
        if (
            not open_to_all
            and repository.parent.name == "gated"
            and self.headers.get("Authorization") != f"Bearer {TOKEN}"
        ):
            self.status(401, {"X-Error-Code": "GatedRepo"})
            return True
        if not repository.is_dir():
            self.status(404, {"X-Error-Code": "RepoNotFound"})
            return True
        return False

    def json(self, value: Any, code: int = 200) -> None:
        self._send(code, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def status(self, code: int, headers: dict[str, str] | None = None) -> None:
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
