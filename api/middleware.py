"""Middleware for every request: its id, error answers, metrics and security headers."""

import logging
import re
import time
import uuid
from http import HTTPStatus

from prometheus_client import Counter, Histogram
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import GONE, MEDIA, METHODS, problem

log = logging.getLogger(__name__)
REQUESTS = Counter("dejavu_requests_total", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram("dejavu_request_seconds", "Time to answer", ["method", "route"])
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
            method = scope["method"] if scope["method"] in METHODS else "other"
            REQUESTS.labels(method, route, status).inc()
            SECONDS.labels(method, route).observe(time.perf_counter() - start)


class Problems:
    """Give an error that the framework wrote as text, such as 416, the form of all others."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, an answer of 400 or more as problem+json."""
        held: Message | None = None

        async def told(message: Message) -> None:
            nonlocal held
            if held is not None:
                if not message.get("more_body", False):
                    await self._tell(scope, receive, send, held, message.get("body", b""))
            elif _says_nothing(message):
                held = message
            else:
                await send(message)

        await self.app(scope, receive, told if scope["type"] == "http" else send)

    async def _tell(
        self, scope: Scope, receive: Receive, send: Send, start: Message, body: bytes
    ) -> None:
        kept = {
            name.decode(): value.decode("latin-1")
            for name, value in start["headers"]
            if name not in (b"content-type", b"content-length")
        }
        detail = body.decode("utf-8", "replace").strip() or HTTPStatus(start["status"]).phrase
        answer = problem(Request(scope), start["status"], detail, headers=kept)
        await answer(scope, receive, send)


def _says_nothing(message: Message) -> bool:
    """Whether this begins an error in another form."""
    if (
        message["type"] != "http.response.start"
        or message["status"] < HTTPStatus.BAD_REQUEST
        or message["status"] == GONE
    ):
        return False
    return dict(message["headers"]).get(b"content-type") != MEDIA.encode()


class Version:
    """Answer `/v1/…` as what follows: the first version, for programs that pin one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on without the version."""
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            raw = scope.get("raw_path") or b""
            scope = {**scope, "path": scope["path"][3:], "raw_path": raw.removeprefix(b"/v1")}
        await self.app(scope, receive, send)


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


def _is_error(status: int) -> bool:
    return status >= HTTPStatus.BAD_REQUEST and status != GONE
