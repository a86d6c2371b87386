"""What holds for every request: an id, an answer, a limit on its body, a count."""

import logging
import re
import time
import uuid
from typing import Any

from prometheus_client import Counter, Histogram
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.config import LOOPBACK
from api.errors import Problem, problem

log = logging.getLogger(__name__)
REQUESTS = Counter("dejavu_requests_total", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram("dejavu_request_seconds", "Time to answer", ["method", "route"])
_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")
_ID = re.compile(r"[\w.-]{1,64}")


class RequestId:
    """Give each request an id, its own if it brought a sane one, and return it as X-Request-Id.

    An error that nobody foresaw ends here: in the log once, under that id, and as a 500.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on with the id in the scope."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        scope["request_id"] = given if _ID.fullmatch(given) else uuid.uuid4().hex
        start, status, begun = time.perf_counter(), 500, False

        async def tagged(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                own = (b"x-request-id", scope["request_id"].encode())
                message["headers"] = [*message["headers"], own]
            await send(message)

        try:
            await self.app(scope, receive, tagged)
        except Exception:  # what was begun stays unfinished, and the server closes the connection
            log.exception("%s %s failed (%s)", scope["method"], scope["path"], scope["request_id"])
            if not begun:
                said = "unforeseen error; the server's log has it under request_id"
                await problem(Request(scope), 500, said)(scope, receive, tagged)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            REQUESTS.labels(scope["method"], route, status).inc()
            SECONDS.labels(scope["method"], route).observe(time.perf_counter() - start)


class Head:
    """Answer HEAD as GET without its body, wherever there is a GET: probes and players ask so."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, a HEAD as GET."""

        async def bare(message: Message) -> None:
            await send({**message, "body": b""} if "body" in message else message)

        if scope["type"] == "http" and scope["method"] == "HEAD":
            await self.app({**scope, "method": "GET"}, receive, bare)
        else:
            await self.app(scope, receive, send)


class BodyLimit:
    """Refuse a body that is longer than allowed, also one that did not say its length."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, max_upload_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on with a counted body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        upload = headers.get(b"content-type", b"").startswith(b"multipart/form-data")
        allowed = self.max_upload_bytes if upload else self.max_bytes
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message: Any = await receive()
            seen += len(message.get("body", b""))
            if seen > allowed:
                raise Problem(413, f"the body is longer than the {allowed} bytes allowed")
            return message

        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > allowed:
            answer = problem(Request(scope), 413, f"{int(length)} bytes; allowed: {allowed}")
            await answer(scope, receive, send)
            return
        await self.app(scope, counted, send)


class OwnPagesOnly:
    """Without keys, answer only what this machine's own programs and our own page ask.

    A foreign page that is open in a browser here could reach the loopback address too: under a name
    that resolves to it, or by a form. The first shows in Host, the second in Origin.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse with 403."""
        if scope["type"] == "http":
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            host = headers.get(b"host", "")
            origin = headers.get(b"origin", f"http://{host}")
            if not _LOOPBACK.fullmatch(host) or origin.partition("://")[2] != host:
                said = f"without keys only {', '.join(LOOPBACK)} are served, got {host}, {origin}"
                await problem(Request(scope), 403, said)(scope, receive, send)
                return
        await self.app(scope, receive, send)
