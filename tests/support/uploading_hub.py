"""A local hub that takes uploads as huggingface_hub sends them without Xet: preupload, LFS objects, a commit."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from small_hub import TOKEN, HubHandler, SmallHub

NAMESPACE, USER = "my-org", "someone"
LARGE = (".parquet", ".safetensors")
"""Files that the hub stores as LFS objects."""


@dataclass
class Uploads:
    """What was sent, and what the hub does with it."""

    private: dict[Path, bool] = field(default_factory=dict)
    """Repository -> whether it is private; those that are not here are public."""
    objects: list[str] = field(default_factory=list)
    """The SHA-256 of each LFS object that was taken, in order."""
    commits: list[tuple[str, list[str]]] = field(default_factory=list)
    """Repository and changed paths of each commit."""
    created: list[dict[str, Any]] = field(default_factory=list)
    """What each request to create a repository said."""
    most_objects: int | None = None
    """From then on, the hub refuses objects."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class UploadingHub(SmallHub):
    """Its repositories can be read, too; a request that changes something wants `TOKEN`."""

    def __init__(self, root: Path) -> None:
        self.uploads = Uploads()
        super().__init__(root)

    def handler(self) -> type[HubHandler]:
        return _Handler

    def state(self) -> dict[str, Any]:
        return {"uploads": self.uploads}


class _Handler(HubHandler):
    uploads: Uploads

    def do_GET(self) -> None:  # noqa: N802
        if self.path.startswith("/api/whoami"):
            if self._has_token():
                self.json({"name": USER, "type": "user", "orgs": [{"name": NAMESPACE}]})
        else:
            super().do_GET()

    def is_private(self, repository: Path) -> bool:
        return self.uploads.private.get(repository, False)

    def post(self, body: str) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        if self.path == "/api/validate-yaml":
            self.json({"errors": [], "warnings": []})
        elif self.path == "/api/repos/create" and self._has_token():
            self._create(json.loads(body))
        elif self.path.endswith("/info/lfs/objects/batch") and self._has_token():
            self._batch(json.loads(body))
        elif parts[-2:-1] == ["preupload"] and self._has_token():
            self._preupload(self.root.joinpath(*parts[1:4]), json.loads(body)["files"])
        elif parts[-2:-1] == ["commit"] and self._has_token():
            self._take_commit(self.root.joinpath(*parts[1:4]), list(map(json.loads, body.splitlines())))
        else:
            super().post(body)

    def do_PUT(self) -> None:  # noqa: N802
        content = self._body()
        name = hashlib.sha256(content).hexdigest()
        with self.uploads.lock:  # files are sent side by side
            taken = len(self.uploads.objects) != self.uploads.most_objects and self.path == f"/lfs/{name}"
            if taken:
                self._object(name).parent.mkdir(exist_ok=True)
                self._object(name).write_bytes(content)
                self.uploads.objects.append(name)
        self.status(200 if taken else 403)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def _has_token(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self.status(401)
        return False

    def _object(self, name: str) -> Path:
        return self.root / "lfs" / name

    def _create(self, asked: dict[str, Any]) -> None:
        self.uploads.created.append(asked)
        name = f"{asked['organization']}/{asked['name']}"
        kind = "datasets/" if asked.get("type") == "dataset" else ""
        answer = {"url": f"http://{self.headers['Host']}/{kind}{name}", "name": name, "id": name}
        repository = self.root / f"{asked.get('type', 'model')}s" / name
        if repository.is_dir():
            self.json(answer, 409)
            return
        repository.mkdir(parents=True)
        self.uploads.private[repository] = asked.get("visibility") == "private"
        self.json(answer)

    def _preupload(self, repository: Path, files: list[dict[str, Any]]) -> None:
        answers = []
        for file in files:
            large, there = file["path"].endswith(LARGE), repository / file["path"]
            oid = _oid(there.read_bytes(), large) if there.is_file() else None
            mode = "lfs" if large else "regular"
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.json({"files": answers})

    def _batch(self, asked: dict[str, Any]) -> None:
        objects = []
        for wanted in asked["objects"]:
            upload = {"upload": {"href": f"http://{self.headers['Host']}/lfs/{wanted['oid']}"}}
            objects.append(wanted if self._object(wanted["oid"]).is_file() else {**wanted, "actions": upload})
        self.json({"transfer": "basic", "objects": objects})

    def _take_commit(self, repository: Path, lines: list[dict[str, Any]]) -> None:
        for value in (line["value"] for line in lines if line["key"] != "header"):
            path = repository / value["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            if "content" in value:
                path.write_bytes(base64.b64decode(value["content"]))
            elif "oid" in value:
                shutil.copy(self._object(value["oid"]), path)
            else:
                path.unlink()
        name = "/".join(repository.parts[-3:])
        self.uploads.commits.append((name, [line["value"]["path"] for line in lines[1:]]))
        commit = hashlib.sha1(json.dumps(lines).encode()).hexdigest()
        self.newest[repository] = commit
        self.json({"commitUrl": f"http://{self.headers['Host']}/{name}/commit/{commit}", "commitOid": commit})


def _oid(content: bytes, large: bool) -> str:
    """What the hub compares files by: the SHA-256 of large ones, of others the SHA-1 as in git."""
    if large:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
