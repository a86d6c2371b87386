"""What a node has to have in common with the driver: the code, what computes, the time."""

import hashlib
import platform
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

MOST_APART_SECONDS = 5.0  # of two clocks
_TOPS = ("engine", "kernels", "schemas")
_COMPUTING = ("torch", "av", "numpy", "pyarrow")  # whose versions may change what is stored


@dataclass(frozen=True, slots=True)
class Passport:
    """A process's version of all that what it stores depends on, and its clock when asked."""

    node: str
    package: str
    code: str  # hash of all our sources
    python: str
    libraries: str
    seconds: float  # since the epoch

    @classmethod
    def own(cls) -> "Passport":
        """Return this process's."""
        libraries = " ".join(f"{name} {_version(name)}" for name in _COMPUTING)
        python = ".".join(platform.python_version_tuple()[:2])
        package = _version("dejavu-engine")
        return cls(socket.gethostname(), package, code_hash(), python, libraries, time.time())


@cache
def code_hash() -> str:
    """Return the SHA-256 of our Python sources and schemas, names included: its first 12 digits."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for top in _TOPS:
        for path in sorted((root / top).rglob("*")):
            if path.suffix in (".py", ".sql", ".json"):
                digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def misfit(own: Passport, other: Passport, asked: float, answered: float) -> str | None:
    """Say in one line what keeps a node from working for this driver, or None.

    `asked` and `answered` are when the driver sent for the passport and had it, by its own clock.
    """
    told = {"package": "dejavu-engine", "code": "code", "python": "Python", "libraries": ""}
    for name in (each.name for each in fields(Passport)):
        here, there = getattr(own, name), getattr(other, name)
        if name in told and here != there:
            what = f"{told[name]} {there}".strip()
            return f"has {what}, the driver {here}; install the same on every node"
    apart = max(asked - other.seconds, other.seconds - answered)
    if apart > MOST_APART_SECONDS:
        side = "behind" if other.seconds < asked else "ahead of"
        return (
            f"has a clock {apart:.1f} s {side} the driver's; allowed: {MOST_APART_SECONDS:g} s"
            " (set them by NTP)"
        )
    return None


def unseen(folders: Sequence[Path], mark: str) -> str | None:
    """Name the first folder that is not the driver's own: its mark is not there."""
    return next((str(each) for each in folders if not (each / mark).exists()), None)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
