"""How many frames a query may still embed: whole groups of pictures, in the order of time."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.ingesting.plan import TOLERANCE_SECONDS, Source, Stretch


@dataclass(slots=True)
class FrameBudget:
    """Counts frames down as stretches are planned; `exceeded` where something did not fit."""

    left: int | None = None  # None: no bound
    exceeded: bool = False

    def fit(self, source: Source, stretches: Sequence[Stretch]) -> list[Stretch]:
        """Return the first of these stretches, the last of them shortened, that fit."""
        fitting: list[Stretch] = []
        for stretch in stretches:
            part = self._first(source, stretch)
            if part is not None:
                fitting.append(part)
            if part != stretch:
                self.left, self.exceeded = 0, True
                break
        return fitting

    def _first(self, source: Source, stretch: Stretch) -> Stretch | None:
        """Return as much of a stretch as fits, in whole groups of pictures, and count it."""
        frames = source.frames(stretch)
        if self.left is None or frames <= self.left:
            self.left = None if self.left is None else self.left - frames
            return stretch
        stop = stretch.start_seconds
        for gop in source.between(stretch.start_seconds, stretch.stop_seconds):
            longer = Stretch(stretch.start_seconds, gop.stop_seconds)
            if gop.stop_seconds > stretch.stop_seconds or source.frames(longer) > self.left:
                break
            stop = gop.stop_seconds
        if stop <= stretch.start_seconds + TOLERANCE_SECONDS:
            return None
        return Stretch(stretch.start_seconds, stop)
