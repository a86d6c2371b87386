"""What every dataset is, whatever file it came from."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from math import inf
from pathlib import Path

from engine.errors import NotFoundError, UsageError

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Captioned:
    """One caption of one video."""

    key: str
    video: str
    caption: str


@dataclass(frozen=True, slots=True)
class Question:
    """One multiple-choice question on a video, or on the part `clip` of it."""

    key: str
    video: str
    text: str
    choices: tuple[str, ...]
    answer: int
    kind: str = ""
    clip: Span | None = None  # seconds of the video that the question is about
    spans: tuple[Span, ...] = ()  # seconds that answer it, where annotated


@dataclass(frozen=True, slots=True)
class Dataset:
    """The parts of one annotated set; a task takes what it needs."""

    name: str
    captions: tuple[Captioned, ...] = ()
    questions: tuple[Question, ...] = ()

    @property
    def videos(self) -> list[str]:
        """Names of all videos that are asked about, in order of appearance."""
        captioned, asked = (c.video for c in self.captions), (q.video for q in self.questions)
        return list(dict.fromkeys([*captioned, *asked]))


def read_rows(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Read a CSV with a header that has all of `columns`; a row with fewer or more is an error."""
    lines = _lines(path)
    header = next(lines, (0, []))[1]
    if missing := [name for name in columns if name not in header]:
        found = ", ".join(header) or "nothing"
        raise UsageError(f"{path}: no column {missing[0]!r}; found: {found}")
    number = 0
    for number, row in lines:
        if len(row) != len(header):
            raise UsageError(f"{path}:{number}: {len(row)} columns; expected {len(header)}")
        yield dict(zip(header, row, strict=True))
    if not number:
        raise UsageError(f"{path}: no row below the header")


def read_bare_rows(path: Path, num_columns: int) -> Iterator[tuple[int, list[str]]]:
    """Read a CSV without a header, each row of `num_columns`, with the number of its line."""
    number = 0
    for number, row in _lines(path):
        if len(row) != num_columns:
            raise UsageError(f"{path}:{number}: {len(row)} columns; expected {num_columns}")
        yield number, row
    if not number:
        raise UsageError(f"{path}: no row")


def parse_span(text: str, where: str = "") -> Span:
    """Read `[start:stop]` in seconds; `where` it stands is said of one that is none."""
    told = f"{where}: {text!r}" if where else repr(text)
    try:
        start, stop = (float(part) for part in text.strip().strip("[]").split(":"))
    except ValueError as error:
        raise UsageError(f"{told} is no span; expected [start:stop]") from error
    return check_span(start, stop, told)


def check_span(start: float, stop: float, told: str) -> Span:
    """Refuse what is no stretch of time; official files have some that begin just below zero."""
    if not -inf < start <= stop < inf:
        raise UsageError(f"{told} is no span; expected [start:stop], start <= stop")
    return start, stop


def check_keys(path: Path, keys: Iterable[str]) -> None:
    """Refuse a file in which one key stands twice: it would count twice."""
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise UsageError(f"{path}: {key} stands twice; allowed: once")
        seen.add(key)


def read_text(path: Path) -> str:
    """Read an annotation file, which is UTF-8 with or without a mark."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise NotFoundError(f"annotation file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UsageError(
            f"{path}:{line}: not UTF-8; convert it, as by iconv -f latin1 -t utf-8"
        ) from error


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of their last line; empty ones are left out."""
    reader = csv.reader(StringIO(read_text(path), newline=""), strict=True)
    try:
        yield from ((reader.line_num, row) for row in reader if row)
    except csv.Error as error:
        raise UsageError(f"{path}:{reader.line_num}: no CSV: {error}") from error
