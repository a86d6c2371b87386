"""What becomes of the files in folders: which have come to rest, have gone, or were moved."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from engine.errors import UsageError, VideoError
from engine.ingesting.discover import Found
from engine.objects.address import Place
from engine.objects.remote import is_there
from engine.video.container import file_stamp


@dataclass(frozen=True, slots=True)
class SourceChange:
    """What was noticed of a file."""

    kind: Literal["settled", "gone", "moved"]
    found: Found
    before: str | None = None  # how a file that was moved was called


@dataclass(frozen=True, slots=True)
class _Seen:
    found: Found
    stamp: tuple[int, int, int]
    since: float  # when it was first seen like that
    settled: bool = False
    known: bool = False  # it has settled before, like that or otherwise


class FolderWatch:
    """Compares what is in folders with what was there at the look before.

    A file settles once inode, size and time of change have been the same for `rest_seconds`, and
    again each time that they change. Where one goes while another comes that has all three, it was
    moved. `stored` names what an earlier run has seen: of that, what has gone is told at first.
    """

    def __init__(
        self,
        look: Callable[[], Sequence[Found]],
        rest_seconds: float,
        stored: Mapping[Place, str] | None = None,
    ) -> None:
        if not rest_seconds > 0:
            raise UsageError(f"a file rests for {rest_seconds:g} s; allowed: more than 0")
        self._look = look
        self._rest = rest_seconds
        self._stored = dict(stored or {})
        self._seen: dict[Place, _Seen] = {}

    def changes(self, now: float) -> list[SourceChange]:
        """Look, and return what is new since the last look; `now` is in seconds of any clock."""
        found: dict[Place, _Seen] = {}
        told: list[SourceChange] = []
        for each in self._look():
            try:
                fresh = _Seen(each, file_stamp(each.path), now)
            except VideoError:  # it went meanwhile, or is a link to nothing
                continue
            before = self._seen.get(each.path)
            if before and before.stamp == fresh.stamp:
                fresh = before
            elif before:
                fresh = replace(fresh, known=before.known)
            if not fresh.settled and now - fresh.since >= self._rest:
                fresh = replace(fresh, settled=True, known=True)
                told.append(SourceChange("settled", each))
            found[each.path] = fresh
        told = self._departed(found) + told
        self._seen = found
        return told

    def _departed(self, found: Mapping[Place, _Seen]) -> list[SourceChange]:
        """Return which files have gone or were moved."""
        told = [
            SourceChange("gone", Found(path, name))
            for path, name in self._stored.items()
            if path not in found and not is_there(path)
        ]
        self._stored.clear()
        came = {each.stamp: each for path, each in found.items() if path not in self._seen}
        for path, each in self._seen.items():
            if path in found or not each.known:
                continue
            new = came.get(each.stamp)
            if new is None:
                told.append(SourceChange("gone", each.found))
            else:
                told.append(SourceChange("moved", new.found, each.found.name))
        return told
