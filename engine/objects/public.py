"""Which hosts may be spoken to for somebody else: looked up once, and public unless named."""

import ipaddress
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from threading import Timer

_UNICAST = ipaddress.ip_network("2000::/3")  # of IPv6, all that the internet is given so far
_NOT_PUBLIC = tuple(  # though Python takes them to be: they lead elsewhere, or to the cloud's host
    map(ipaddress.ip_network, ("2002::/16", "3fff::/20", "192.88.99.0/24", "168.63.129.16/32"))
)


class HostError(Exception):
    """A host that is not there, or may not be spoken to; the message says why."""


def address_of(host: str, port: int, named: Collection[str], setting: str) -> str:
    """Return an address of a host that may be spoken to.

    The host is looked up once, and that address is to be used: a name cannot first look public and
    then be another. One that is not public has to be among `named` (`HOST` or `HOST:PORT`), which
    `setting` lists.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise HostError(f"no host {host!r}: {error}") from error
    addresses = [str(info[4][0]) for info in found]
    if host in named or f"{host}:{port}" in named:
        return addresses[0]
    if private := [each for each in addresses if not is_public(each)]:
        raise HostError(f"{host} is {private[0]}, which is not public; allowed: {setting}")
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


@contextmanager
def ended_after(seconds: float, connection: socket.socket) -> Iterator[None]:
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
