"""A hub of the test's own: a few files on 127.0.0.1, with ranges, and downloads that are cut."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "c0ffee" + "0" * 34
TAG = "decade" + "0" * 34


@dataclass(slots=True)
class FakeHub:
    """What the hub holds, and what it was asked.

    Attributes:
        files: of the one repository, by revision and name.
        refuse: the X-Error-Code of every answer, if any.
        cut: downloads that break off in the middle before one comes whole.
        asked: method, path and range of every request.
    """

    repo: str = "owner/repo"
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refuse: str = ""
    cut: int = 0
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    url: str = ""

    def put(self, revision: str = "main", **files: bytes) -> None:
        self.files.setdefault(revision, {}).update(files)


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": hub}))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, *args: Any) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        hub = self.hub
        span = self.headers.get("Range", "")
        hub.asked.append((self.command, self.path, span))
        if hub.refuse:
            return self._send(403, hub.refuse)
        for revision, files in hub.files.items():
            commit = COMMIT if revision == "main" else TAG
            if self.path.startswith(f"/api/models/{hub.repo}/revision/{revision}"):
                siblings = [{"rfilename": name} for name in files]
                info = {"id": hub.repo, "sha": commit, "siblings": siblings}
                return self._send(200, body=json.dumps(info).encode())
            for name, data in files.items():
                if self.path == f"/{hub.repo}/resolve/{revision}/{name}":
                    return self._file(data, commit, span if body else "")
        known = self.path.startswith((f"/api/models/{hub.repo}/", f"/{hub.repo}/"))
        return self._send(404, "RevisionNotFound" if known else "RepoNotFound")

    def _file(self, data: bytes, commit: str, span: str) -> None:
        start = int(span.removeprefix("bytes=").split("-")[0] or 0) if span else 0
        self.send_response(206 if span else 200)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - start))
        if span:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        whole = not self.hub.cut
        self.hub.cut -= not whole
        self.wfile.write(data[start:] if whole else data[start : start + (len(data) - start) // 2])
        self.close_connection = True

    def _send(self, status: int, code: str = "", *, body: bytes = b"{}") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
