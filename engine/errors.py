"""Every error that the engine raises on purpose.

EngineError
├── UsageError            a value given by the caller is not allowed
├── NotFoundError         a name or id that nothing has
├── QueryError            a query that cannot be run, with the place in its text
│   ├── ParseError        not the dialect
│   ├── BindError         names or types that do not fit
│   ├── DataError         values that it cannot compute with: a cast, a pattern, an overflow
│   └── LimitError        it was stopped: time, memory, rows, bytes, a crash, ended, no room
├── VideoError            a video that cannot be used, with the reason
│   ├── UnsupportedCodecError
│   └── CorruptVideoError
├── ModelError            a model, checkpoint or tokenizer that cannot be used
├── StoreError            the data folder is damaged, or another process has it
└── ExecutionError        an operator failed while a query ran
"""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Literal


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
        kind: Literal["time", "memory", "rows", "bytes", "crash", "ended", "busy"],
        sql: str = "",
        position: int | None = None,
    ) -> None:
        super().__init__(message, sql=sql, position=position)
        self.kind = kind


class VideoError(EngineError):
    """A video that cannot be used; `path` names it, the message is the reason."""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class UnsupportedCodecError(VideoError):
    """The stream's codec cannot be decoded here."""


class CorruptVideoError(VideoError):
    """The bytes are damaged beyond use."""


class ModelError(EngineError):
    """A model, checkpoint or tokenizer that cannot be used."""


class StoreError(EngineError):
    """The data folder is damaged, or another process has it."""


class ExecutionError(EngineError):
    """An operator failed while a query ran."""

    def __init__(self, message: str, *, operator: str = "") -> None:
        super().__init__(message)
        self.operator = operator


def unknown(kind: str, given: str, allowed: Iterable[str]) -> str:
    """Say that `given` is no known `kind`, what is allowed, and the nearest name.

    >>> unknown("strategy", "dens", ["dense", "reusevit"])
    "unknown strategy 'dens'; allowed: dense, reusevit; nearest: dense"
    """
    names = sorted(allowed)
    near = get_close_matches(given, names, n=1)
    listed = ", ".join(names) if names else "none"
    return f"unknown {kind} {given!r}; allowed: {listed}" + (
        f"; nearest: {near[0]}" if near else ""
    )


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
