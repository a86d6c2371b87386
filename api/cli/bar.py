"""A bar with an end, for work that is counted in steps; lines now and then where none is drawn."""

import time
from typing import Self

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from api.cli import show

LINE_SECONDS = 10.0


class Bar:
    """Tells how far something is; use as a context manager."""

    def __init__(self, name: str, unit: str, *, as_json: bool) -> None:
        self._name, self._unit = name, unit
        self._drawn, self._quiet = show.err.is_terminal and not as_json, as_json
        self._began, self._last = time.monotonic(), 0.0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]} {task.fields[note]}"),
            TimeRemainingColumn(compact=True),
            console=show.err,
            disable=not self._drawn,
        )
        self._task = self._progress.add_task(name, total=None, unit=unit, note="")

    def __enter__(self) -> Self:
        """Begin."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it as it stands."""
        self._progress.stop()

    def tell(self, done: int, most: int, note: str = "") -> None:
        """So many steps of so many are done."""
        self._progress.update(self._task, completed=done, total=most, note=escape(note))
        now = time.monotonic()
        if self._drawn or self._quiet or (now - self._last < LINE_SECONDS and done < most):
            return
        self._last = now
        left = (now - self._began) * (most - done) / max(done, 1)
        said = f"{self._name} {done}/{most} {self._unit}, about {left:.0f} s left"
        show.err.print(escape(f"{said}; {note}" if note else said), soft_wrap=True)
