"""What is closed at the end of a `with`."""

from types import TracebackType
from typing import Self


class Closing:
    """A context manager whose `close` gives back what it holds, also where an error ends it."""

    def close(self) -> None:
        """Give back what is held; nothing can be asked afterwards."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Return the object itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()
