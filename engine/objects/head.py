"""What is known of an object before any of its bytes is read."""

import hashlib
import re
from dataclasses import dataclass

from engine.objects.address import Address

_OF_CONTENT = re.compile(r"[0-9a-f]{32}(-\d+)?")  # as S3 makes it: of MD5, or of its parts'


@dataclass(frozen=True, slots=True)
class ObjectState:
    """An object's size and what tells its content from any other that it had."""

    size: int
    etag: str | None
    modified: str  # as the other side says it

    @property
    def mark(self) -> str:
        """What changes when the object is written; without an ETag its time."""
        return self.etag or self.modified

    @property
    def stamp(self) -> tuple[int, int, int]:
        """The same in the form of a file's inode, size and time."""
        return int.from_bytes(hashlib.sha256(self.mark.encode()).digest()[:7], "big"), self.size, 0


def identity(address: Address, head: ObjectState) -> str:
    """Return what stands for the hash of the content, which would take reading all of it.

    By its ETag where that is made of the bytes, as S3's is: then a copy is the same video. Else
    by the address too, since the ETags of others may only tell when something was written.
    """
    etag = (head.etag or "").removeprefix("W/").strip('"').lower()
    where = "" if address.scheme == "s3" and _OF_CONTENT.fullmatch(etag) else str(address)
    told = "\n".join(("object", where, head.mark, str(head.size)))
    return hashlib.sha256(told.encode()).hexdigest()
