"""Blocks of objects that were read, kept in memory up to a bound, the last used longest."""

from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cache
from threading import Lock

BLOCK_BYTES = 64 << 10

_Key = tuple[str, str, int]  # address, mark, number


@dataclass(slots=True)
class Blocks:
    """All readers of a process share them; a changed object's are never taken for the new one's."""

    held: "OrderedDict[_Key, bytes]" = field(default_factory=OrderedDict)
    size_bytes: int = 0
    lock: Lock = field(default_factory=Lock)

    def get(self, key: _Key) -> bytes | None:
        """Return a block that is kept."""
        with self.lock:
            found = self.held.get(key)
            if found is not None:
                self.held.move_to_end(key)
            return found

    def put(self, key: _Key, block: bytes, most: int) -> None:
        """Keep a block, and let go of what was not used for longest, down to `most` bytes."""
        with self.lock:
            self.size_bytes += len(block) - len(self.held.pop(key, b""))
            self.held[key] = block
            while self.size_bytes > most:
                _, gone = self.held.popitem(last=False)
                self.size_bytes -= len(gone)


@cache
def blocks() -> Blocks:
    """Return the blocks of this process."""
    return Blocks()
