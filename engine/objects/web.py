"""Objects behind https: only from hosts that are allowed, by ranges, and never by a redirect."""

import http.client
import socket
import ssl
import time
from email.utils import parsedate_to_datetime

from engine.errors import ObjectError, UsageError
from engine.objects.address import Address
from engine.objects.faults import ObjectGoneError
from engine.objects.head import ObjectState
from engine.objects.public import HostError, address_of, ended_after
from engine.objects.settings import ObjectSettings, object_settings

SETTING = "DEJAVU_OBJECT_HOSTS"


def check_allowed(address: Address) -> None:
    """Refuse a host that is not switched on."""
    allowed = object_settings().listed
    host, _ = _host(address)
    for each in allowed:
        if each in (host, address.bucket.lower(), "*"):
            return
        if each.startswith("*.") and host.endswith(each[1:]):
            return
    listed = ", ".join(allowed) or "none"
    raise UsageError(f"https://{host} is not switched on; allowed: {listed}; see {SETTING}")


def head(address: Address) -> ObjectState:
    """Return what is known of a file behind an address."""
    response, _ = _asked(address, "HEAD", {}, most=0)
    size = response.headers.get("Content-Length", "")
    etag, modified = response.headers.get("ETag"), response.headers.get("Last-Modified", "")
    if response.headers.get("Accept-Ranges", "").lower() != "bytes" or not size.isdigit():
        raise ObjectError(f"{address}: the server gives no parts of it; allowed: one that does")
    if not etag and not _is_date(modified):
        said = "the server tells no ETag and no Last-Modified, so a change would go unseen"
        raise ObjectError(f"{address}: {said}")
    return ObjectState(int(size), etag, modified)


def read(address: Address, start: int, stop: int, known: ObjectState) -> bytes:
    """Return a part of it, as long as it is the one that is known."""
    wanted = stop - start
    response, body = _asked(address, "GET", {"Range": f"bytes={start}-{stop - 1}"}, most=wanted)
    now = response.headers.get("ETag") or response.headers.get("Last-Modified", "")
    if now != known.mark:
        raise ObjectError(f"{address} has changed while it was read")
    if response.status != 206 or len(body) != wanted:
        raise ObjectError(f"{address}: the server gave other bytes than it was asked for")
    return body


def _asked(
    address: Address, method: str, headers: dict[str, str], *, most: int
) -> tuple[http.client.HTTPResponse, bytes]:
    """Ask, and again where no answer comes; say in one line what else is wrong."""
    check_allowed(address)
    settings, pause = object_settings(), object_settings().pause_seconds
    for left in reversed(range(settings.tries)):
        try:
            response, body = _once(address, method, headers, most, settings)
            if response.status < 500 or not left:
                break
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, ssl.SSLCertVerificationError) or not left:
                said = str(getattr(error, "strerror", "") or type(error).__name__).lower()
                raise ObjectError(f"https://{address.bucket} does not answer: {said}") from error
        time.sleep(pause)
        pause *= 2
    if response.status in (404, 410):
        raise ObjectGoneError(f"no file {address}")
    if 300 <= response.status < 400:
        raise ObjectError(f"{address} leads elsewhere; allowed: the address that it leads to")
    if response.status in (401, 403):
        raise ObjectError(f"no right to read {address} ({response.status}); allowed: public files")
    if not 200 <= response.status < 300:
        raise ObjectError(f"{address}: the server answers {response.status}")
    return response, body


def _once(
    address: Address, method: str, headers: dict[str, str], most: int, settings: ObjectSettings
) -> tuple[http.client.HTTPResponse, bytes]:
    host, port = _host(address)
    try:
        where = address_of(host, port, settings.listed, f"it whole in {SETTING}")
    except HostError as error:
        raise ObjectError(str(error)) from error
    seconds = settings.seconds
    with (
        socket.create_connection((where, port), seconds) as raw,
        ended_after(seconds, raw),
        ssl.create_default_context().wrap_socket(raw, server_hostname=host) as safe,
    ):
        connection = http.client.HTTPConnection(host, port, timeout=seconds)
        connection.sock = safe
        told = {"Host": address.bucket, "User-Agent": "dejavu-engine", "Connection": "close"}
        told["Accept-Encoding"] = "identity"
        connection.request(method, _path(address), headers={**told, **headers})
        response = connection.getresponse()
        body = response.read(most + 1) if most and response.status == 206 else b""
        if response.status == 206 and len(body) < most:
            raise http.client.IncompleteRead(body, most - len(body))
        return response, body


def _host(address: Address) -> tuple[str, int]:
    host, _, port = address.bucket.lower().partition(":")
    if not host or not (port or "443").isdigit() or not 0 < int(port or "443") < 65536:
        raise UsageError(f"address {address}; allowed: https://HOST[:PORT]/PATH")
    return host, int(port or "443")


def _path(address: Address) -> str:
    from_key = address.key.encode()
    safe = b"/-._~%!$&'()*+,;=:@"
    return "/" + "".join(
        chr(each) if each < 128 and (chr(each).isalnum() or each in safe) else f"%{each:02X}"
        for each in from_key
    )


def _is_date(text: str) -> bool:
    try:
        return bool(text) and parsedate_to_datetime(text) is not None
    except ValueError:
        return False
