"""An HTTP server for tests: it takes JSON by POST on a free local port while its context is open."""

from __future__ import annotations

from abc import abstractmethod
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar, Self


class LocalServer:
    """A context manager; a subclass says where it is and how a request is answered."""

    path: ClassVar[str]
    """The path of its URL."""

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer.serve(self, text)

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
        return f"http://127.0.0.1:{self._server.server_port}{self.path}"

    @abstractmethod
    def serve(self, request: BaseHTTPRequestHandler, text: str) -> None:
        """Answer a request with this body."""
