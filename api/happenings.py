"""What of a camera is one happening: moments that follow each other closely, in several videos."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from engine.results import Moment

_KEPT = 16  # happenings of a query and a camera that more may be added to


@dataclass(slots=True)
class Happening:
    """`[begin, end)` by the camera's clock."""

    begin: datetime
    end: datetime


class Happenings:
    """The latest of one query and one camera."""

    def __init__(self) -> None:
        self._latest = deque[Happening](maxlen=_KEPT)

    def begun(
        self, moments: Sequence[Moment], recorded_at: datetime, gap: timedelta
    ) -> list[Moment]:
        """Take moments of a video in; return those that go on with nothing that is known."""
        new = list[Moment]()
        for moment in sorted(moments, key=lambda each: each.start_seconds):
            begin, end = (
                recorded_at + timedelta(seconds=seconds)
                for seconds in (moment.start_seconds, moment.stop_seconds)
            )
            known = _touched(self._latest, begin - gap, end + gap)
            if known is None:
                self._latest.append(Happening(begin, end))
                new.append(moment)
            else:
                known.begin, known.end = min(known.begin, begin), max(known.end, end)
        return [moment for moment in moments if moment in new]


def _touched(known: Iterable[Happening], begin: datetime, end: datetime) -> Happening | None:
    return next((each for each in known if each.begin <= end and begin <= each.end), None)
