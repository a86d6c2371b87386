"""The shards of a server that asks several: where they are, how their videos are numbered."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from http.client import HTTPException
from time import monotonic
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from engine.calls import ServerCalls
from engine.errors import (
    EngineError,
    ExecutionError,
    LimitError,
    ModelError,
    NotFoundError,
    StoreError,
    UnreachedError,
    UsageError,
)

T = TypeVar("T")
STEP: Final = 10_000_000_000  # a video's id is this times its shard's place, and its id there
MOST: Final = 64
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,39}")
_THEIRS = (ExecutionError, StoreError, ModelError, UnreachedError)  # what only the shard can mend


class LostShardsError(ExecutionError):
    """Shards that gave no answer; `reasons` says of each why."""

    def __init__(self, reasons: "Mapping[Shard, str]") -> None:
        named = "; ".join(f"{shard.name}: {why}" for shard, why in reasons.items())
        super().__init__(f"no answer from shard {named}")
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Shard:
    """One of the servers that are asked."""

    name: str
    url: str
    place: int

    def id_of(self, video_id: int) -> int:
        """Return the id that its video has among those of all shards."""
        return self.place * STEP + video_id


def read_shards(given: str) -> tuple[Shard, ...]:
    """Read `URL,URL` or `NAME=URL,…`; without a name it is the URL's host and port.

    >>> [shard.name for shard in read_shards("north=http://10.0.0.1:8000,http://10.0.0.2:8000")]
    ['north', '10.0.0.2-8000']
    """
    found: list[Shard] = []
    for place, item in enumerate(part.strip() for part in given.split(",")):
        name, mark, url = item.partition("=") if "=" in item.partition("://")[0] else ("", "", item)
        url = url.rstrip("/")
        parts = _parts_of(url)
        if parts is None:
            raise UsageError(
                f"shard {_shown(item)!r}; allowed: URL or NAME=URL, as north=http://10.0.0.1:8000"
            )
        name = name.strip() if mark else parts.replace(":", "-").strip("[]")
        if not _NAME.fullmatch(name):
            raise UsageError(f"shard name {name!r}; allowed: 1 to 40 letters, digits, _ . and -")
        found.append(Shard(name, url, place))
    for what in ("name", "url"):
        values = [getattr(shard, what) for shard in found]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise UsageError(f"two shards have the {what} {twice}; allowed: each once")
    if len(found) > MOST:
        raise UsageError(f"{len(found)} shards; allowed: at most {MOST}")
    return tuple(found)


def _parts_of(url: str) -> str | None:
    """Return host and port of a shard's URL, or None where it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    plain = parts.scheme in ("http", "https") and parts.hostname and not parts.username
    if not plain or parts.query or parts.fragment:
        return None
    return f"{parts.hostname}:{port}" if port else str(parts.hostname)


def _shown(item: str) -> str:
    """Return what was given without what may be a password."""
    return re.sub(r"//[^/@]*@", "//…@", item)[:80]


@dataclass
class Shards:
    """Asks shards side by side; one that does not answer in time is lost, and named."""

    all: tuple[Shard, ...]
    seconds: float  # that all steps of one answer may take together
    means: dict[Any, Any] = field(default_factory=dict)  # by what the shards hold
    nulls: dict[Any, Any] = field(default_factory=dict)
    _threads: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self._threads = ThreadPoolExecutor(4 * len(self.all), thread_name_prefix="shards")

    def close(self) -> None:
        """Ask nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def later(self, call: Callable[..., None], *given: Any) -> None:
        """Call when there is a thread for it; nobody waits."""
        with suppress(RuntimeError):  # closed
            self._threads.submit(call, *given)

    def of_video(self, video_id: int) -> tuple[Shard, int]:
        """Return whose a video is, and its id there."""
        place, own = divmod(video_id, STEP)
        if place >= len(self.all):
            raise NotFoundError(f"no video {video_id}: there are {len(self.all)} shards")
        return self.all[place], own

    def calls(self, shard: Shard, key: str | None, seconds: float | None = None) -> ServerCalls:
        """Return how a shard is asked by who has this key."""
        return ServerCalls(shard.url, key, self.seconds if seconds is None else seconds)

    def each(
        self, among: Iterable[Shard], call: Callable[[Shard], T], until: float | None = None
    ) -> dict[Shard, T]:
        """Call for each of some shards side by side; LostShardsError names those that are lost.

        What the caller has asked wrongly is raised as the shard says it.
        """
        left = self.seconds if until is None else max(0.0, until - monotonic())
        asked = {shard: self._threads.submit(copy_context().run, call, shard) for shard in among}
        wait(asked.values(), timeout=left)
        found: dict[Shard, T] = {}
        lost: dict[Shard, str] = {}
        for shard, future in asked.items():
            if not future.done():
                future.cancel()
                lost[shard] = f"no answer within {self.seconds:g} s"
                continue
            try:
                found[shard] = future.result()
            except EngineError as error:
                if not _is_lost(error):
                    raise
                lost[shard] = _why(error)
            except (OSError, HTTPException, ValueError, KeyError) as error:
                lost[shard] = f"what it answered broke off or is none ({type(error).__name__})"
        if lost:
            raise LostShardsError(lost)
        return found


def _is_lost(error: EngineError) -> bool:
    if isinstance(error, LimitError):
        return error.kind in ("busy", "time", "crash", "ended")
    return isinstance(error, _THEIRS)


def _why(error: EngineError) -> str:
    text = str(error)
    return "does not answer in time" if "timed out" in text else text


def names_of(shards: Sequence[Shard]) -> str:
    """List shards by their names."""
    return ", ".join(shard.name for shard in shards)
