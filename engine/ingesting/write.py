"""Writing in a thread of its own, a few stretches behind the encoder."""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from engine.ingesting.encode import Done


@dataclass(slots=True, eq=False)
class Writer:
    """Commits stretches in the order given; leaving the context waits for all of them."""

    commit: Callable[[Done], None]
    behind: int = 4  # stretches that may wait
    _line: "queue.Queue[Done | None]" = field(init=False)
    _thread: threading.Thread = field(init=False)
    _error: BaseException | None = field(init=False, default=None)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._line = queue.Queue(self.behind)
        self._thread = threading.Thread(target=self._run, name="write", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for what was given; raise what went wrong, unless something else did before."""
        self._line.put(None)
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def put(self, done: Done) -> None:
        """Hand over a stretch, waiting for room."""
        if self._error is not None:
            raise self._error
        self._line.put(done)

    def _run(self) -> None:
        while (done := self._line.get()) is not None:
            if self._error is not None:
                continue  # empties the line, so that nobody waits for room
            try:
                self.commit(done)
            except BaseException as error:  # noqa: BLE001  # raised again in the encoder's thread
                self._error = error
