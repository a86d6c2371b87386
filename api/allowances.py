"""What each key may do: so many requests, at a time so many, so much brought in a day."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from threading import Lock

from prometheus_client import Counter

from api.config import ServerSettings
from api.errors import HttpProblem
from api.keys import ApiKey, read_limits
from engine.errors import LimitError

ASKED = Counter("dejavu_key_requests_total", "Requests let in", ["key"])
REFUSED = Counter("dejavu_key_refused_total", "Requests refused by a limit", ["key", "limit"])
BROUGHT = Counter("dejavu_key_ingested_bytes_total", "Bytes of videos to bring in", ["key"])
SHOWN = Counter("dejavu_key_ingested_hours_total", "Hours of videos to bring in", ["key"])
CALLED = Counter("dejavu_key_model_calls_total", "Calls of a model that sees", ["key"])
_MINUTE, _DAY = 60.0, 86_400.0
_UNITS = {
    "requests": "a minute",
    "ingest_bytes": "a day",
    "ingest_hours": "a day",
    "model_calls": "a day",
}


@dataclass(slots=True)
class Bucket:
    """An amount that is used up and comes back evenly, all of it within `seconds`."""

    amount: float
    seconds: float
    left: float = field(init=False)
    at: float | None = None

    def __post_init__(self) -> None:
        """Begin full."""
        self.left = self.amount

    def wait(self, wanted: float, now: float) -> float:
        """Return in how many seconds so much is there; of more than all of it, when it is full."""
        since = 0.0 if self.at is None else now - self.at
        self.left = min(self.amount, self.left + since * self.amount / self.seconds)
        self.at = now
        lacking = min(wanted, self.amount) - self.left
        return max(0.0, lacking * self.seconds / self.amount)


class Allowance:
    """What one key has left; of any thread are the calls of models alone."""

    def __init__(self, key: ApiKey, limits: dict[str, float], clock: Callable[[], float]) -> None:
        self._key, self._limits, self._clock = key, limits, clock
        self._running = 0
        self._paying = Lock()
        self._buckets = {
            name: Bucket(limits[name], _MINUTE if name == "requests" else _DAY)
            for name in _UNITS
            if name in limits
        }

    def begin(self) -> None:
        """Let a request in, or refuse it with when to come back; one let in has to `end`."""
        most = self._limits.get("concurrent")
        if most is not None and self._running >= most:
            self._refuse("concurrent", f"{self._running} requests of this key are running", 1.0)
        self._use("requests", 1)
        ASKED.labels(self._key.name).inc()
        self._running += 1

    def end(self) -> None:
        """A request has been answered."""
        self._running -= 1

    def limits(self, name: str) -> bool:
        """Whether there is a limit of a kind."""
        return name in self._limits

    def expect(self, size_bytes: int) -> None:
        """Refuse bytes that could not be brought in; nothing is used up."""
        self._check("ingest_bytes", size_bytes)

    def bring_in(self, size_bytes: int, hours: float = 0.0) -> None:
        """Let videos be brought in, or refuse them; nothing is used up then."""
        self._check("ingest_bytes", size_bytes)
        self._use("ingest_hours", hours)
        self._use("ingest_bytes", size_bytes)
        BROUGHT.labels(self._key.name).inc(size_bytes)
        SHOWN.labels(self._key.name).inc(hours)

    def pay(self) -> None:
        """Let a model that sees be called once, or raise LimitError."""
        with self._paying:
            try:
                self._use("model_calls", 1)
            except HttpProblem as error:
                again = float((error.headers or {})["retry-after"])
                raise LimitError(error.detail, kind="calls", again_seconds=again) from None
        CALLED.labels(self._key.name).inc()

    def _use(self, name: str, wanted: float) -> None:
        self._check(name, wanted)
        if (bucket := self._buckets.get(name)) is not None:
            bucket.left -= wanted

    def _check(self, name: str, wanted: float) -> None:
        bucket = self._buckets.get(name)
        if bucket is not None and (seconds := bucket.wait(wanted, self._clock())) > 0:
            said = f"{name}: {wanted:,.6g} more than this key has left"
            self._refuse(name, said if wanted != 1 else f"{name} of this key are used up", seconds)

    def _refuse(self, name: str, said: str, seconds: float) -> None:
        REFUSED.labels(self._key.name, name).inc()
        allowed = f"{self._limits[name]:,.12g} {_UNITS.get(name, 'at a time')}"
        raise HttpProblem(429, f"{said}; allowed: {allowed}", retry_after=str(ceil(seconds)))


class Allowances:
    """Those of all keys of a server, since it started."""

    def __init__(
        self, settings: ServerSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        limits = read_limits(settings.key_limits, settings.keys)
        self._of = {key.name: Allowance(key, limits[key.name], clock) for key in settings.keys}

    def of(self, key: ApiKey) -> Allowance:
        """Return what a key has left."""
        return self._of[key.name]
