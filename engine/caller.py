"""What the caller of the current thread may see and do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SEES_FOLDERS: ContextVar[bool] = ContextVar("sees_folders", default=True)
_MAY_CHANGE: ContextVar[bool] = ContextVar("may_change", default=True)
_PAY: ContextVar[Callable[[], None] | None] = ContextVar("pay", default=None)


def sees_folders() -> bool:
    """Whether the folders that files lie in may be told; a program by itself sees all."""
    return _SEES_FOLDERS.get()


def may_change() -> bool:
    """Whether statements may change the store, as CREATE VIEW does; a program by itself may."""
    return _MAY_CHANGE.get()


@contextmanager
def for_one_who(*, sees_folders: bool, may_change: bool) -> Iterator[None]:
    """Do something for somebody."""
    sees, may = _SEES_FOLDERS.set(sees_folders), _MAY_CHANGE.set(may_change)
    try:
        yield
    finally:
        _SEES_FOLDERS.reset(sees)
        _MAY_CHANGE.reset(may)


def pay_for_call() -> None:
    """Count a call of a model that costs; LimitError where the caller has none left."""
    if (pay := _PAY.get()) is not None:
        pay()


@contextmanager
def paid_by(pay: Callable[[], None]) -> Iterator[None]:
    """Count calls of models within by `pay`, which raises where none is left."""
    before = _PAY.set(pay)
    try:
        yield
    finally:
        _PAY.reset(before)
