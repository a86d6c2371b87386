"""Where a video lies: a path of this machine, or the address of an object elsewhere."""

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import ClassVar

from engine.errors import UsageError

BUCKETS = ("s3", "gs", "az")
SCHEMES = (*BUCKETS, "https")
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Address:
    """An object: `bucket` is a host for https. Of names it tells what a path does."""

    WORDS: ClassVar = "an address"

    scheme: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"

    @property
    def name(self) -> str:
        """The last part of its key; of a bucket itself its name."""
        return PurePosixPath(self.key).name or self.bucket

    @property
    def stem(self) -> str:
        """Its name without the ending."""
        return PurePosixPath(self.key).stem

    @property
    def suffix(self) -> str:
        """The ending of its name, with the dot."""
        return PurePosixPath(self.key).suffix

    @property
    def parts(self) -> tuple[str, ...]:
        """Its bucket and the parts of its key."""
        return (f"{self.scheme}://{self.bucket}", *self.key.split("/"))

    @property
    def parent(self) -> "Address":
        """What its key lies in."""
        return replace(self, key=self.key.rpartition("/")[0])

    def below(self, key: str) -> "Address":
        """Return another object of its bucket."""
        return replace(self, key=key)


Place = Path | Address


def lies_in(place: Place, folder: Place) -> bool:
    """Whether something is a folder, or lies below it; of paths both are to be whole."""
    if isinstance(place, Path):
        return isinstance(folder, Path) and place.is_relative_to(folder)
    return isinstance(folder, Address) and f"{place}/".startswith(f"{str(folder).rstrip('/')}/")


def whole(given: "str | Place") -> Place:
    """Return a path from the root on, wherever links lead; an address is as it is."""
    place = place_of(given)
    return place.resolve() if isinstance(place, Path) else place


def is_address(text: str) -> bool:
    """Whether a text is meant as an address: it begins with a scheme."""
    return _ADDRESS.fullmatch(text) is not None


def place_of(given: "str | Place") -> Place:
    """Read where a video lies; UsageError for an address of a kind that is not taken."""
    if isinstance(given, Address) or not isinstance(given, str):
        return given
    return read_address(given) if is_address(given) else Path(given)


def read_address(text: str) -> Address:
    """Read `s3://bucket/key` and its like; what could carry a secret is refused, not repeated."""
    found = _ADDRESS.fullmatch(text)
    allowed = ", ".join(f"{scheme}://" for scheme in SCHEMES)
    if found is None or found[1] not in SCHEMES:
        scheme = found[1] + "://" if found else text[:80]
        raise UsageError(f"address {scheme!r}; allowed: {allowed}")
    bucket, _, key = found[2].partition("/")
    if "@" in bucket:
        raise UsageError(f"an address of {found[1]}:// with a name before the host; allowed: none")
    if found[1] == "https" and ("?" in key or "#" in key):
        said = "what follows it may be a key, and addresses are stored"
        raise UsageError(f"an address of {bucket} with ? or #; allowed: neither, {said}")
    if not bucket or not text.isprintable():
        raise UsageError(f"address {text[:200]!r}; allowed: {found[1]}://BUCKET/KEY")
    inner = key.rstrip("/").split("/") if key.strip("/") else []
    if any(part in ("", ".", "..") for part in inner):
        raise UsageError(f"address {text[:200]!r} has an empty part, . or ..; allowed: names alone")
    return Address(found[1], bucket, key)
