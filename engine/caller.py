"""What the caller of the current thread may see."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SEES_FOLDERS: ContextVar[bool] = ContextVar("sees_folders", default=True)


def sees_folders() -> bool:
    """Whether the folders that files lie in may be told; a program by itself sees all."""
    return _SEES_FOLDERS.get()


@contextmanager
def for_one_who(*, sees_folders: bool) -> Iterator[None]:
    """Do something for somebody."""
    token = _SEES_FOLDERS.set(sees_folders)
    try:
        yield
    finally:
        _SEES_FOLDERS.reset(token)
