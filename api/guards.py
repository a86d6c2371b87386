"""Access and size limits, decided by the head of a request before its body is read."""

import re
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.allowances import Allowances
from api.config import LOOPBACK, ServerSettings
from api.errors import HttpProblem, problem
from engine.caller import paid_by

_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")
_OPEN = ("/", "/docs", "/openapi.json", "/livez", "/readyz")  # and what the page is made of
_OPEN_BELOW = "/web/"


async def _refuse(
    scope: Scope, receive: Receive, send: Send, status: int, detail: str, **headers: str
) -> None:
    """Answer at once, and read no body: whoever sends one is told that the line ends here."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if _sends_a_body(scope):
        named["Connection"] = "close"
    await problem(Request(scope), status, detail, headers=named)(scope, receive, send)


def _sends_a_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


class Keys:
    """Note the role of who asks in the scope; without a known key nothing else is done for them."""

    def __init__(self, app: ASGIApp, *, settings: ServerSettings, allowances: Allowances) -> None:
        self.app = app
        self.settings = settings
        self.allowances = allowances

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on with the role, or refuse with 401, or with 429 what the key has used up."""
        if scope["type"] != "http" or not self.settings.api_keys:
            scope["role"] = "write"
            await self.app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        kind, _, secret = given.partition(" ")
        key = self.settings.key_of(secret.strip()) if kind.lower() == "bearer" else None
        is_open = scope["path"] in _OPEN or scope["path"].startswith(_OPEN_BELOW)
        if key is None and not is_open:
            said = "the key is not known" if given else "no key"
            said += "; send Authorization: Bearer KEY"
            await _refuse(scope, receive, send, 401, said, WWW_Authenticate="Bearer")
            return
        scope["role"] = key and key.role
        if key is None or is_open:
            await self.app(scope, receive, send)
            return
        scope["allowance"] = allowance = self.allowances.of(key)
        try:
            allowance.begin()
        except HttpProblem as error:
            await _refuse(scope, receive, send, 429, error.detail, **(error.headers or {}))
            return
        try:
            with paid_by(allowance.pay):
                await self.app(scope, receive, send)
        finally:
            allowance.end()


class Bodies:
    """Refuse a body that is longer than its route takes, also one that did not say its length.

    One whose length is said in two ways is refused too: what stands between us and the other side
    may believe the other one.
    """

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
        length, allowed = headers.get(b"content-length", b"0"), self._allowed(scope, headers)
        if b"content-length" in headers and b"transfer-encoding" in headers:
            said = "Content-Length beside Transfer-Encoding; allowed: one of them"
            await _refuse(scope, receive, send, 400, said)
        elif length.isdigit() and int(length) > allowed:
            await _refuse(scope, receive, send, 413, f"{int(length)} bytes; allowed: {allowed}")
        else:
            await self.app(scope, _counted(receive, allowed), send)

    def _allowed(self, scope: Scope, headers: dict[bytes, bytes]) -> int:
        upload = (scope["method"], scope["path"].rstrip("/")) == ("POST", "/videos")
        form = headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data")
        return self.max_upload_bytes if upload and form else self.max_bytes


def _counted(receive: Receive, allowed: int) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message: Any = await receive()
        seen += len(message.get("body", b""))
        if seen > allowed:
            said = f"the body is longer than the {allowed} bytes allowed"
            raise HttpProblem(413, said, Connection="close")
        return message

    return counted


class OwnPagesOnly:
    """Without keys, answer only what this machine's own programs and our own page ask.

    A foreign page that is open in a browser here could reach the loopback address too: under a name
    that resolves to it, by a form, or by showing pictures. The first shows in Host, the second in
    Origin, the third in Sec-Fetch-Site. A link to the page may be followed from anywhere.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse with 403."""
        if scope["type"] == "http":
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            if fault := _foreign(scope, headers):
                said = f"without keys only {', '.join(LOOPBACK)} are served, got {fault}"
                await _refuse(scope, receive, send, 403, said)
                return
        await self.app(scope, receive, send)


def _foreign(scope: Scope, headers: dict[bytes, str]) -> str | None:
    """Say what shows that a foreign page asks."""
    host = headers.get(b"host", "")
    origin = headers.get(b"origin", f"http://{host}")
    site = headers.get(b"sec-fetch-site", "none")
    if not _LOOPBACK.fullmatch(host) or origin.partition("://")[2] != host:
        return f"{host}, {origin}"
    followed = (scope["method"], headers.get(b"sec-fetch-mode"), headers.get(b"sec-fetch-dest"))
    if site not in ("none", "same-origin") and (
        followed != ("GET", "navigate", "document") or scope["path"] not in _OPEN
    ):
        return f"Sec-Fetch-Site: {site}"
    return None
