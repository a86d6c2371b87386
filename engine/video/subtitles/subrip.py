"""SubRip: numbered cues with times, as `.srt` files have them."""

import io
import re
from collections.abc import Iterator
from typing import Final

from engine.video.subtitles.cue import CuesRead
from engine.video.subtitles.times import TIMING, begins_like_times, seconds_of

_NUMBER = re.compile(r"\s*\d+\s*")
_TAG = re.compile(r"</?(?:b|i|u|s|font)(?:\s[^<>]*)?>", re.IGNORECASE)
PLACE: Final = re.compile(r"\{\\[^{}]*\}")  # {\an8} and its kind


def read_subrip(text: str) -> CuesRead:
    """Read the cues of a file.

    A cue lasts from its times to those of the next; a number alone before these is the next one's.
    """
    reading = CuesRead()
    for number, times, rows in _cues(text):
        found = TIMING.match(times)
        if found is not None:
            start, stop = (seconds_of(found, side) for side in ("start", "stop"))
            reading.add(start, stop, plain("\n".join(rows)), f"the cue in line {number}")
        elif times:
            reading.note(f"line {number} has times that cannot be read")
        elif rows:
            reading.note(f"line {number} has text without times")
    return reading


def plain(text: str) -> str:
    """Take SubRip's marks out of a text; what looks like others is left as it stands."""
    return PLACE.sub("", _TAG.sub("", text))


def _cues(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Yield each row of times with its number and the rows below it; first what has no times."""
    at, times, rows = 1, "", list[str]()
    for number, row in enumerate(io.StringIO(text, newline=None), 1):
        if begins_like_times(row):
            if rows and _NUMBER.fullmatch(rows[-1]):
                rows.pop()
            yield at, times, rows
            at, times, rows = number, row, []
        elif row.strip():
            rows.append(row.rstrip("\n"))
    yield at, times, rows
