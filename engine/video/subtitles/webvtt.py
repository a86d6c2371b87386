"""WebVTT: cues in blocks with marks, as `.vtt` files have them."""

import html
import io
import re
from collections.abc import Iterator
from typing import Final

from engine.video.subtitles.cue import CuesRead
from engine.video.subtitles.times import TIMING, begins_like_times, seconds_of

_TAG = re.compile(r"<(?:/?[A-Za-z][^<>]*|\d[\d:.]*|/)>")
_OTHERS: Final = ("WEBVTT", "NOTE", "STYLE", "REGION")
_DIRECTIONS: Final = dict.fromkeys((0x200E, 0x200F))


def read_webvtt(text: str) -> CuesRead:
    """Read the cues of a file: blocks between empty lines, each with times in its first rows."""
    reading = CuesRead()
    for number, rows in _blocks(text):
        at = next((at for at, row in enumerate(rows[:2]) if begins_like_times(row)), None)
        if at is None:
            if not rows[0].lstrip("\ufeff").startswith(_OTHERS):
                reading.note(f"line {number} has text without times")
            continue
        found = TIMING.match(rows[at])
        if found is None:
            reading.note(f"line {number + at} has times that cannot be read")
            continue
        start, stop = (seconds_of(found, side) for side in ("start", "stop"))
        where = f"the cue in line {number + at}"
        reading.add(start, stop, plain("\n".join(rows[at + 1 :])), where)
    return reading


def plain(text: str) -> str:
    """Take WebVTT's marks out of a text, and let its entities be what they stand for."""
    return html.unescape(_TAG.sub("", text)).translate(_DIRECTIONS)


def _blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows between empty lines, with the number of the first."""
    rows: list[str] = []
    number = 0
    for number, row in enumerate(io.StringIO(text, newline=None), 1):
        if row.strip():
            rows.append(row.rstrip("\n"))
        elif rows:
            yield number - len(rows), rows
            rows = []
    if rows:
        yield number + 1 - len(rows), rows
