"""Telling another program of something: signed, to public addresses only, and within bounds."""

import hashlib
import hmac
import http.client
import socket
import ssl
import time
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

from engine.errors import UsageError
from engine.objects.public import HostError, address_of, ended_after

_SECONDS = 10.0  # for all of it
_PORTS = {"http": 80, "https": 443}


class DeliveryError(Exception):
    """It was not taken; the message says why."""


def check_url(url: str) -> SplitResult:
    """Refuse an address that cannot be one of a webhook."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _PORTS and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username is not None or not url.isascii() or not url.isprintable():
        raise UsageError(f"url {url[:200]!r}; allowed: http(s)://HOST[:PORT]/PATH, without a name")
    return parts


def sign(secret: str, at: int, body: bytes) -> str:
    """Return what `X-Dejavu-Signature` says: when, and an HMAC-SHA256 over that and the body."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


def deliver(
    url: str, body: bytes, *, secret: str | None, told: str, allowed: Collection[str] = ()
) -> None:
    """POST JSON to an address; `told` is the same however often it is tried.

    The host is looked up once and that address is spoken to, so that a name cannot first look
    public and then be another; one that is not public has to be among `allowed` (`HOST` or
    `HOST:PORT`). Redirects are not followed.
    """
    parts = check_url(url)
    host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
    try:
        address = address_of(host, port, allowed, "DEJAVU_WEBHOOK_HOSTS")
    except HostError as error:
        raise DeliveryError(str(error)) from error
    at = int(time.time())
    headers = {"Content-Type": "application/json", "X-Dejavu-Delivery": told}
    headers |= {"User-Agent": "dejavu-engine", "Connection": "close"}
    if secret:
        headers["X-Dejavu-Signature"] = sign(secret, at, body)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with (
            socket.create_connection((address, port), _SECONDS) as raw,
            ended_after(_SECONDS, raw),
        ):
            status = _post(parts, host, port, raw, path, body, headers)
    except (OSError, http.client.HTTPException, ssl.SSLError) as error:
        raise DeliveryError(f"{host}:{port}: {error or type(error).__name__}") from error
    if not 200 <= status < 300:
        raise DeliveryError(f"{host}:{port} answers {status}")


def _post(
    parts: SplitResult,
    host: str,
    port: int,
    raw: socket.socket,
    path: str,
    body: bytes,
    headers: dict[str, str],
) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=_SECONDS)
    if parts.scheme == "https":
        raw = ssl.create_default_context().wrap_socket(raw, server_hostname=host)
    connection.sock = raw
    try:
        connection.request("POST", path, body, {"Host": parts.netloc, **headers})
        return connection.getresponse().status
    finally:
        connection.close()
