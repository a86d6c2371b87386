"""The inquiries that others have begun here; one that is not gone on with is forgotten."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Final

from engine.errors import LimitError, NotFoundError
from engine.sharding.inquiry import Inquiry

MOST: Final = 64  # at a time: each keeps a moment of the store
FORGOTTEN_SECONDS: Final = 120.0


@dataclass(slots=True)
class OpenInquiry:
    """An inquiry, who has begun it, and when it was last gone on with."""

    inquiry: Inquiry
    owner: str
    used: float
    taken: Lock = field(default_factory=Lock)


@dataclass(slots=True)
class OpenInquiries:
    """Keeps inquiries between the calls of who merges; a secret names each, for its owner alone."""

    most: int = MOST
    _held: dict[str, OpenInquiry] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def keep(self, inquiry: Inquiry, owner: str) -> str:
        """Keep an inquiry and return its name; LimitError where as many as are allowed are open."""
        with self._lock:
            now = monotonic()
            for name in [n for n, o in self._held.items() if now - o.used > FORGOTTEN_SECONDS]:
                del self._held[name]
            if len(self._held) >= self.most:
                said = f"{self.most} queries of others are open here, as many as are allowed"
                raise LimitError(said, kind="busy", again_seconds=2.0)
            name = secrets.token_urlsafe(18)
            self._held[name] = OpenInquiry(inquiry, owner, now)
            return name

    @contextmanager
    def use(self, name: str, owner: str) -> Iterator[Inquiry]:
        """Go on with an inquiry, which one call at a time does."""
        with self._lock:
            held = self._held.get(name)
            if held is None or held.owner != owner:
                raise NotFoundError("no such inquiry: it has ended, was forgotten, or never began")
            held.used = monotonic()
        with held.taken:
            yield held.inquiry

    def end(self, name: str, owner: str) -> None:
        """Forget an inquiry; one that is not there is forgotten already."""
        with self._lock:
            if name in self._held and self._held[name].owner == owner:
                del self._held[name]
