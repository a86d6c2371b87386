"""Objects elsewhere: what is known of one, and its bytes as a file of which parts are read."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Self

from engine.errors import ObjectError
from engine.objects import buckets, web
from engine.objects.address import Address, Place
from engine.objects.blocks import BLOCK_BYTES, blocks
from engine.objects.faults import ObjectGoneError
from engine.objects.head import ObjectState
from engine.objects.parts import Part, Parts
from engine.objects.settings import object_settings

_MOST_AHEAD = 64  # blocks in one request, once reading goes straight on


def head_of(address: Address) -> ObjectState:
    """Return what is known of an object now; ObjectError says why it cannot be read."""
    return web.head(address) if address.scheme == "https" else buckets.head(address)


def open_bytes(place: Place) -> "BinaryIO | RemoteFile":
    """Open what lies somewhere, to be read from anywhere in it."""
    return place.open("rb") if isinstance(place, Path) else RemoteFile(place)


def is_there(place: Place) -> bool:
    """Whether something lies there; of an object it asks, and one that cannot be asked for is."""
    if isinstance(place, Path):
        return place.exists()
    try:
        head_of(place)
    except ObjectGoneError:
        return False
    except ObjectError:
        return True
    return True


class RemoteFile:
    """An object, read in blocks as they are asked for.

    Reading that goes straight on asks for more at a time, up to as much again as was read so: so
    what is read in vain is less than what is of use.
    """

    def __init__(self, address: Address, known: ObjectState | None = None) -> None:
        self.address = address
        self.known = known or head_of(address)
        self.name = address.name
        self._most = object_settings().cache_bytes
        self._at = 0
        self._following = -1  # the block that straight reading would ask for next
        self._ahead = 1
        self._parts: Parts | None = None

    def show_only(self, parts: Iterable[Part]) -> None:
        """From now on read these parts alone; all else is zeros."""
        size = self.known.size
        self._parts = Parts(self._fetch, ((min(a, size), min(b, size)) for a, b in parts))

    def __enter__(self) -> Self:
        """Return the file; there is nothing to be closed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Keep what was read, for others."""

    def tell(self) -> int:
        """Return where reading goes on."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go elsewhere; nothing is read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.known.size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """Return so many bytes, fewer only at the end."""
        left = self.known.size - self._at if size < 0 else size
        parts = []
        while left > 0 and (part := self._some(left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _some(self, most: int) -> memoryview:
        if self._at >= self.known.size or most <= 0:
            return memoryview(b"")
        if self._parts is not None:
            most = min(most, self.known.size - self._at, BLOCK_BYTES)
            self._at += most
            return memoryview(self._parts.read(self._at - most, most))
        number, offset = divmod(self._at, BLOCK_BYTES)
        part = memoryview(self._block(number))[offset : offset + most]
        self._at += len(part)
        return part

    def _fetch(self, start: int, stop: int) -> bytes:
        reads = web.read if self.address.scheme == "https" else buckets.read
        return reads(self.address, start, stop, self.known)

    def _block(self, number: int) -> bytes:
        name, mark = str(self.address), self.known.mark
        found = blocks().get((name, mark, number))
        if found is not None:
            return found
        self._ahead = min(2 * self._ahead, _MOST_AHEAD) if number == self._following else 1
        start = number * BLOCK_BYTES
        stop = min(start + self._ahead * BLOCK_BYTES, self.known.size)
        data = self._fetch(start, stop)
        self._following = number + self._ahead
        for index in range(0, len(data), BLOCK_BYTES):
            block = data[index : index + BLOCK_BYTES]
            blocks().put((name, mark, number + index // BLOCK_BYTES), block, self._most)
        return data[:BLOCK_BYTES]
