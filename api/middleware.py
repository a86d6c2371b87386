"""What holds for every request: an id, an answer, a count, and headers that keep it ours."""

import logging
import re
import time
import uuid

from prometheus_client import Counter, Histogram
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem

log = logging.getLogger(__name__)
REQUESTS = Counter("dejavu_requests_total", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram("dejavu_request_seconds", "Time to answer", ["method", "route"])
_METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
_OURS = (  # no other page may show an answer, or take it for something else than it is
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
)
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
                message["headers"] = [*message["headers"], own, *_OURS]
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
            method = scope["method"] if scope["method"] in _METHODS else "other"
            REQUESTS.labels(method, route, status).inc()
            SECONDS.labels(method, route).observe(time.perf_counter() - start)


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
