"""A small hub: the real client fetches files of a folder from it, as it does from the real one."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What it has, and what it was asked for."""

    folder: Path
    refuse: str = ""  # the error that it names in place of an answer
    cut: int = 0  # bytes of a large file after which it breaks off, once
    ranges: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve it on this machine, in threads."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if self.hub.refuse:
            self._send(403 if self.hub.refuse == "GatedRepo" else 404, b"{}", error=True)
        elif path.endswith("/revision/gone"):
            self.hub.refuse, kept = "RevisionNotFound", self.hub.refuse
            self._send(404, b"{}", error=True)
            self.hub.refuse = kept
        elif "/tree/" in path:
            self._send(200, json.dumps([self._entry(p) for p in self._files()]).encode())
        elif path.startswith("/api/models/"):
            names = [{"rfilename": p.name} for p in self._files()]
            told = {"id": "owner/tiny", "modelId": "owner/tiny", "sha": COMMIT, "siblings": names}
            self._send(200, json.dumps(told).encode())
        else:
            self._file(self.hub.folder / path.rpartition("/")[2])

    def _files(self) -> list[Path]:
        return sorted(self.hub.folder.iterdir())

    def _entry(self, path: Path) -> dict[str, object]:
        size, sha = path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
        told = {"type": "file", "path": path.name, "size": size, "oid": sha[:40]}
        if path.suffix == ".safetensors":
            told["lfs"] = {"oid": sha, "size": size, "pointerSize": 130}
        return told

    def _file(self, path: Path) -> None:
        body = path.read_bytes()
        sha = hashlib.sha256(body).hexdigest()
        large = path.suffix == ".safetensors"
        known = {"ETag": f'"{sha if large else sha[:40]}"', "X-Repo-Commit": COMMIT}
        start, status = 0, 200
        if asked := self.headers.get("Range"):
            start, status = int(asked.removeprefix("bytes=").split("-")[0]), 206
            if self.command == "GET" and start:
                self.hub.ranges.append(asked)
            known["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        stop = len(body)
        if large and self.hub.cut and self.command == "GET":
            stop, self.hub.cut = self.hub.cut, 0
        self._send(status, body[start:], known, stop - start)

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        sent: int | None = None,
        *,
        error: bool = False,
    ) -> None:
        self.send_response(status)
        told = {"Content-Length": str(len(body)), **(headers or {})}
        if error:
            told["X-Error-Code"] = self.hub.refuse
        for name, value in told.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:sent])
