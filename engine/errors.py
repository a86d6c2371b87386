"""Every error that the engine raises on purpose.

EngineError
├── UsageError            a value given by the caller is not allowed
├── NotFoundError         a name or id that nothing has
├── QueryError            a query that cannot be run, with the place in its text
│   ├── ParseError        not the dialect
│   ├── BindError         names or types that do not fit
│   ├── DataError         values that it cannot compute with: a cast, a pattern, an overflow
│   └── LimitError        it was stopped: time, memory, rows, bytes, a crash, ended, no room, calls
├── VideoError            a video that cannot be used, with the reason
│   ├── UnsupportedCodecError
│   ├── CorruptVideoError
│   ├── SourceChangedError  it is not what was ingested any more
│   └── UnreachedError    elsewhere, and it could not be asked for its bytes
├── ModelError            a model, checkpoint or tokenizer that cannot be used
│   └── UnreachedModelError   elsewhere, and it could not be asked for vectors
├── StoreError            the data folder is damaged, or another process has it
├── ObjectError           an object elsewhere that could not be reached, read or written
└── ExecutionError        an operator failed while a query ran
    └── LookerError       a model elsewhere that sees could not be asked, or gave no answer
"""

import os
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import accumulate
from pathlib import Path
from typing import Literal

_LONGEST = 600  # characters of a list in an error
_WIDEST = 80  # of one name in it


class EngineError(Exception):
    """Base of all; its text is one line: what was given, what is allowed, the nearest name."""


class UsageError(EngineError):
    """A value given by the caller is not allowed."""


class NotFoundError(EngineError):
    """A name or id that nothing has."""


class QueryError(EngineError):
    """A query that cannot be run; `position` is an offset into `sql`, where known."""

    def __init__(self, message: str, *, sql: str = "", position: int | None = None) -> None:
        super().__init__(message)
        self.sql = sql
        self.position = position

    def caret(self) -> str:
        """Return the offending line of the query with a caret below it, or an empty string."""
        if self.position is None or not self.sql:
            return ""
        start = self.sql.rfind("\n", 0, self.position) + 1
        line = self.sql[start:].split("\n", 1)[0]
        return f"{line}\n{' ' * (self.position - start)}^"


class ParseError(QueryError):
    """The text is not the dialect."""


class BindError(QueryError):
    """Names or types in the query do not fit."""


class DataError(QueryError):
    """The query met values that it cannot compute with: a wrong cast, pattern or an overflow."""


class LimitError(QueryError):
    """A query that was stopped, or that a server had no room for; `kind` says at what."""

    def __init__(
        self,
        message: str,
        *,
        kind: Literal["time", "memory", "rows", "bytes", "crash", "ended", "busy", "calls"],
        sql: str = "",
        position: int | None = None,
        again_seconds: float = 10.0,
    ) -> None:
        super().__init__(message, sql=sql, position=position)
        self.kind = kind
        self.again_seconds = again_seconds  # after which it may go, where waiting helps


class VideoError(EngineError):
    """A video that cannot be used; `path` names it, the message is the reason."""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class UnsupportedCodecError(VideoError):
    """The stream's codec cannot be decoded here."""


class CorruptVideoError(VideoError):
    """The bytes are damaged beyond use."""


class SourceChangedError(VideoError):
    """What lies where a video was is not what was ingested; ingesting it makes a new version."""


class UnreachedError(VideoError):
    """A video elsewhere that could not be asked for; what is on record of it stays."""


class ModelError(EngineError):
    """A model, checkpoint or tokenizer that cannot be used."""


class UnreachedModelError(ModelError):
    """A model elsewhere that could not be asked for vectors, or gave none."""


class StoreError(EngineError):
    """The data folder is damaged, or another process has it."""


class ObjectError(EngineError):
    """An object elsewhere could not be reached, read or written; the message says what helps."""


class ExecutionError(EngineError):
    """An operator failed while a query ran."""

    def __init__(self, message: str, *, operator: str = "") -> None:
        super().__init__(message)
        self.operator = operator


class LookerError(ExecutionError):
    """A model elsewhere that sees could not be asked, or what it said is of no use."""


def unknown(
    kind: str, given: str, allowed: Iterable[str], *, more: Iterable[str] = (), how: str = ""
) -> str:
    """Say that `given` is no known `kind`, what is allowed, and the nearest names.

    >>> unknown("strategy", "dens", ["dense", "reusevit"])
    "unknown strategy 'dens'; allowed: dense, reusevit; nearest: dense"

    Args:
        kind: what is asked for.
        given: what was given.
        allowed: names to list, as many as a line holds.
        more: names that are allowed too and need not stand there.
        how: what lists all of them.
    """
    names = sorted(allowed)
    beside = sorted(set(more) - set(names))
    shown = enough(names, len(beside), how)
    few = not beside and sum(map(len, names)) <= _LONGEST
    near = get_close_matches(given[:_WIDEST], [*names, *beside], n=1 if few else 3)
    said = f"unknown {kind} {given[:_WIDEST]!r}; allowed: {shown}"
    return said + (f"; nearest: {', '.join(near)}" if near else "")


def enough(names: Sequence[str], more: int = 0, how: str = "") -> str:
    """List names as far as a line of an error holds them, and count those left out.

    >>> enough(["dense", "reusevit"], more=3, how="strategies ls")
    'dense, reusevit and 3 more, all of them by strategies ls'
    """
    if not names:
        return "none"
    lengths = accumulate(len(name) + 2 for name in names)
    shown = names[: max(1, sum(length <= _LONGEST for length in lengths))]
    left = len(names) - len(shown) + more
    rest = f" and {left} more" + (f", all of them by {how}" if how else "")
    return ", ".join(name[:_WIDEST] for name in shown) + (rest if left else "")


def check_text(text: str, what: str) -> None:
    """Raise UsageError where a text is empty, or holds half of a pair of surrogates."""
    if not text.strip():
        raise UsageError(f"{what} is empty")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"half of a letter, {text[error.start]!a}"
        raise UsageError(f"{what} holds {half}; allowed: whole ones") from error


def check_videos(videos: object) -> None:
    """Raise UsageError where one name stands for a list: it would be read letter by letter."""
    if isinstance(videos, str | int):
        raise UsageError(f"videos is {videos!r}; allowed: a list of ids, names and globs")


def check_target(path: Path) -> None:
    """Raise UsageError unless a file can be written there."""
    if not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: no folder {path.parent}")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"{path} cannot be written; allowed: a file in a folder that can be")


def check_limit(limit: int | None) -> None:
    """Raise UsageError unless a page can have so many."""
    if limit is not None and limit < 0:
        raise UsageError(f"limit {limit}; allowed: 0 or more")
