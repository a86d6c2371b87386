"""A small S3 server for tests: objects in memory or in files, with faults to order.

It answers what clients of S3 ask for: listings in pages, ranges, conditions, uploads in parts. Who
asks has to name a key that it knows; signatures are not computed.
"""

import hashlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

KEY = "testkey"
SECRET = "s3cr3t-of-tests"


@dataclass(frozen=True)
class Stored:
    """One object: its bytes, or a file that has them."""

    content: bytes | Path
    etag: str
    modified: float

    @property
    def size(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    def read(self, start: int, stop: int) -> bytes:
        if isinstance(self.content, bytes):
            return self.content[start:stop]
        with self.content.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)


@dataclass(frozen=True)
class Asked:
    """One request and what was sent in return."""

    method: str
    key: str
    status: int
    sent: int  # bytes of objects
    query: str


@dataclass
class Fault:
    """What goes wrong with requests that match, so many times."""

    matches: Callable[[str, str], bool]  # method, path with query
    times: int
    status: int = 500
    code: str = "InternalError"
    delay: float = 0.0  # then the request is served
    drop: bool = False  # the connection ends without a word
    short: bool = False  # the body ends half way
    late: bool = False  # it is done, and then the connection ends without a word


@dataclass
class S3:
    """The server's state; `endpoint` is what clients are told."""

    buckets: dict[str, dict[str, Stored]] = field(default_factory=lambda: {"bucket": {}})
    asked: list[Asked] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    page: int = 1000
    endpoint: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def objects(self) -> dict[str, Stored]:
        return self.buckets["bucket"]

    def put(self, key: str, content: bytes | Path, etag: str | None = None) -> None:
        self.objects[key] = stored(content, etag)

    def fail(self, pattern: str, times: int = 1, **how: object) -> None:
        """Let requests go wrong whose `METHOD /path?query` has the pattern in it."""
        found = re.compile(pattern)
        fault = Fault(lambda method, path: bool(found.search(f"{method} {path}")), times, **how)  # type: ignore[arg-type]
        self.faults.append(fault)

    def sent(self) -> int:
        return sum(each.sent for each in self.asked)

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.matches(method, path):
                    fault.times -= 1
                    return fault
        return None


def stored(content: bytes | Path, etag: str | None = None) -> Stored:
    if etag is None:
        seen = content if isinstance(content, bytes) else str(content).encode()
        etag = hashlib.md5(seen).hexdigest()
    return Stored(content, f'"{etag}"', time.time())


@contextmanager
def serving() -> Iterator[S3]:
    """Serve on a free port of this machine."""
    state = S3()

    class Bound(_Handler):
        s3 = state

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    server.daemon_threads = True
    state.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    s3: S3
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        bucket, _, self.key = unquote(parts.path).lstrip("/").partition("/")
        self.fault = self.s3.fault_for(self.command, self.path)
        if self.fault is not None and self.fault.delay:
            time.sleep(self.fault.delay)
        elif self.fault is not None and self.fault.drop:
            return self._hang_up(0)
        elif self.fault is not None and not (self.fault.short or self.fault.late):
            return self._error(self.fault.status, self.fault.code)
        signed = self.headers.get("Authorization", "")
        if f"Credential={KEY}/" not in signed:
            return self._error(403, "InvalidAccessKeyId")
        objects = self.s3.buckets.get(bucket)
        if objects is None:
            return self._error(404, "NoSuchBucket")
        self.objects = objects
        with self.s3.lock:
            if not self.key:
                return self._delete_many() if "delete" in self.query else self._list()
            return getattr(self, f"_{self.command.lower()}")()

    def _list(self) -> None:
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        after = self.query.get("continuation-token") or self.query.get("start-after", "")
        entries: dict[str, str] = {}
        for key in sorted(self.objects):
            if not key.startswith(prefix):
                continue
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                common = prefix + rest.partition(delimiter)[0] + delimiter
                entries[common] = (
                    f"<CommonPrefixes><Prefix>{escape(common)}</Prefix></CommonPrefixes>"
                )
            else:
                one = self.objects[key]
                when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(one.modified))
                entries[key] = (
                    f"<Contents><Key>{escape(key)}</Key><LastModified>{when}</LastModified>"
                    f"<ETag>{escape(one.etag)}</ETag><Size>{one.size}</Size></Contents>"
                )
        names = [name for name in entries if name > after]
        page = names[: self.s3.page]
        more = len(names) > len(page)
        told = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        self._xml(
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{told}"
            f"<KeyCount>{len(page)}</KeyCount>{''.join(entries[name] for name in page)}"
            "</ListBucketResult>"
        )

    def _head(self) -> None:
        self._get()

    def _get(self) -> None:
        one = self.objects.get(self.key)
        if one is None:
            return self._error(404, "NoSuchKey")
        wanted = self.headers.get("If-Match")
        if wanted is not None and wanted != one.etag:
            return self._error(412, "PreconditionFailed")
        start, stop, status = 0, one.size, 200
        named = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        headers = {"ETag": one.etag, "Last-Modified": formatdate(one.modified, usegmt=True)}
        headers["Accept-Ranges"] = "bytes"
        if named and self.command == "GET":
            if named[1]:
                start, stop = int(named[1]), min(int(named[2] or one.size) + 1, one.size)
            else:
                start = max(one.size - int(named[2]), 0)
            if start >= one.size:
                return self._error(416, "InvalidRange")
            status = 206
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{one.size}"
        if self.command == "HEAD":
            return self._reply(status, b"", headers, length=one.size)
        self._reply(status, one.read(start, stop), headers)

    def _put(self) -> None:
        if "partNumber" in self.query:
            parts = self.s3.uploads.get(self.query["uploadId"])
            if parts is None:
                return self._error(404, "NoSuchUpload")
            parts[int(self.query["partNumber"])] = self.body
            return self._reply(200, b"", {"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'})
        if not self._may_write():
            return self._error(412, "PreconditionFailed")
        self.objects[self.key] = stored(self.body)
        self._reply(200, b"", {"ETag": self.objects[self.key].etag})

    def _may_write(self) -> bool:
        one, wanted = self.objects.get(self.key), self.headers.get("If-Match")
        if self.headers.get("If-None-Match") == "*" and one is not None:
            return False
        return wanted is None or (one is not None and one.etag == wanted)

    def _post(self) -> None:
        if "uploads" in self.query:
            upload = f"upload-{len(self.s3.uploads)}-{time.monotonic_ns()}"
            self.s3.uploads[upload] = {}
            self._xml(
                "<InitiateMultipartUploadResult><UploadId>"
                f"{upload}</UploadId></InitiateMultipartUploadResult>"
            )
        else:
            parts = self.s3.uploads.pop(self.query["uploadId"], None)
            if parts is None:
                return self._error(404, "NoSuchUpload")
            if not self._may_write():
                return self._error(412, "PreconditionFailed")
            sums = b"".join(hashlib.md5(parts[n]).digest() for n in sorted(parts))
            etag = f"{hashlib.md5(sums).hexdigest()}-{len(parts)}"
            self.objects[self.key] = stored(b"".join(parts[n] for n in sorted(parts)), etag)
            self._xml(
                "<CompleteMultipartUploadResult><ETag>"
                f"{escape(self.objects[self.key].etag)}</ETag></CompleteMultipartUploadResult>"
            )

    def _delete(self) -> None:
        if "uploadId" in self.query:
            self.s3.uploads.pop(self.query["uploadId"], None)
        else:
            self.objects.pop(self.key, None)
        self._reply(204, b"", {})

    def _delete_many(self) -> None:
        keys = re.findall(r"<Key>(.*?)</Key>", self.body.decode())
        for key in keys:
            self.objects.pop(unescape(key), None)
        told = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self._xml(f"<DeleteResult>{told}</DeleteResult>")

    def _xml(self, text: str) -> None:
        self._reply(200, text.encode(), {"Content-Type": "application/xml"}, told=0)

    def _error(self, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>as the tests ordered</Message></Error>"
        self._reply(status, b"" if self.command == "HEAD" else body.encode(), {}, told=0)

    def _reply(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str],
        *,
        length: int | None = None,
        told: int | None = None,
    ) -> None:
        if self.fault is not None and self.fault.late:
            return self._hang_up(status)
        self._note(status, len(body) if told is None and self.command == "GET" else 0)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.fault is not None and self.fault.short:
            body = body[: len(body) // 2]
            self.close_connection = True
        with suppress(ConnectionError):  # who asked may have given up
            self.wfile.write(body)
            self.wfile.flush()

    def _hang_up(self, status: int) -> None:
        self._note(status, 0)
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _note(self, status: int, sent: int) -> None:
        with self.s3.lock:
            asked = Asked(self.command, self.key, status, sent, urlsplit(self.path).query)
            self.s3.asked.append(asked)
