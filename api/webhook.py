"""Telling another program of something: signed, to public addresses only, and within bounds."""

import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from urllib.parse import SplitResult, urlsplit

from engine.errors import UsageError

_SECONDS = 10.0  # for all of it
_UNICAST = ipaddress.ip_network("2000::/3")  # of IPv6, all that the internet is given so far
_NOT_PUBLIC = tuple(  # though Python takes them to be: they lead elsewhere, or to the cloud's host
    map(ipaddress.ip_network, ("2002::/16", "3fff::/20", "192.88.99.0/24", "168.63.129.16/32"))
)
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
    address = _address(host, port, allowed)
    at = int(time.time())
    headers = {"Content-Type": "application/json", "X-Dejavu-Delivery": told}
    headers |= {"User-Agent": "dejavu-engine", "Connection": "close"}
    if secret:
        headers["X-Dejavu-Signature"] = sign(secret, at, body)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with (
            socket.create_connection((address, port), _SECONDS) as raw,
            _ended_after(_SECONDS, raw),
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


@contextmanager
def _ended_after(seconds: float, connection: socket.socket) -> Iterator[None]:
    """End a connection after so long, also that of who answers a byte at a time.

    By a descriptor of its own: TLS takes the socket's away from it.
    """
    with connection.dup() as other:
        end = Timer(seconds, lambda: _shut(other))
        end.start()
        try:
            yield
        finally:
            end.cancel()
            end.join()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _address(host: str, port: int, allowed: Collection[str]) -> str:
    """Return an address of a host that may be spoken to."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DeliveryError(f"no host {host!r}: {error}") from error
    addresses = [str(info[4][0]) for info in found]
    if host in allowed or f"{host}:{port}" in allowed:
        return addresses[0]
    if private := [each for each in addresses if not is_public(each)]:
        said = f"{host} is {private[0]}, which is not public; allowed: DEJAVU_WEBHOOK_HOSTS"
        raise DeliveryError(said)
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an address is one of the internet: not of this machine, its network or its cloud."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif found not in _UNICAST:
            return False
    listed = any(found in network for network in _NOT_PUBLIC)
    return found.is_global and not found.is_multicast and not listed
