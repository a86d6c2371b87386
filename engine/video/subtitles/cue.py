"""A line of what is said, and what a reading of subtitles gives."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

MOST_CHARACTERS: Final = 4000  # of one line; a longer text is several lines of one span
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]+")
_SPACES = re.compile(r"[^\S\n]+")


@dataclass(frozen=True, slots=True)
class Cue:
    """A text that is shown in `[start_seconds, stop_seconds)`."""

    start_seconds: float
    stop_seconds: float
    text: str


@dataclass(slots=True)
class CuesRead:
    """The lines of one source, and how many of its cues are damaged, with the first reason."""

    lines: list[Cue] = field(default_factory=list)
    damaged: int = 0
    first_damage: str | None = None

    def add(self, start_seconds: float, stop_seconds: float, text: str, where: str) -> None:
        """Take a cue in; what its times leave open is put right where its text can be kept.

        One that ends before it begins is turned round, one of no length is shown for a second, and
        one that begins before the video is cut there.
        """
        if stop_seconds < start_seconds:
            self.note(f"{where} ends before it begins")
            start_seconds, stop_seconds = stop_seconds, start_seconds
        elif stop_seconds == start_seconds:
            self.note(f"{where} has no length")
            stop_seconds = start_seconds + 1.0
        if start_seconds < 0:
            self.note(f"{where} begins before the video")
            start_seconds = 0.0
        if stop_seconds <= start_seconds:
            return
        for part in _parts(text):
            self.lines.append(Cue(start_seconds, stop_seconds, part))

    def note(self, reason: str) -> None:
        """Count a damaged cue."""
        self.damaged += 1
        self.first_damage = self.first_damage or reason


def _parts(text: str) -> Iterator[str]:
    """Yield a text without what cannot be shown, cut where it is too long for one line."""
    rows = (_SPACES.sub(" ", _CONTROL.sub("", row)).strip() for row in text.split("\n"))
    shown = "\n".join(row for row in rows if row)
    while len(shown) > MOST_CHARACTERS:
        gap = max(shown.rfind(space, 1, MOST_CHARACTERS + 1) for space in " \n")
        stop = gap if gap > 0 else MOST_CHARACTERS  # no word is cut that fits into a line
        yield shown[:stop]
        shown = shown[stop:].lstrip()
    if shown:
        yield shown
