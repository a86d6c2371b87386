"""What every dataset is, whatever file it came from."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

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
    """Read a CSV with a header that has all of `columns`."""
    with _open(path) as file:
        reader = csv.DictReader(file)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise UsageError(f"{path}: no column {missing[0]!r}; found: {reader.fieldnames}")
        yield from reader


def read_bare_rows(path: Path, num_columns: int) -> Iterator[list[str]]:
    """Read a CSV without a header, each row of `num_columns`."""
    with _open(path) as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if len(row) != num_columns:
                raise UsageError(f"{path}:{number}: {len(row)} columns; expected {num_columns}")
            yield row


def parse_span(text: str) -> Span:
    """Read `[start:stop]` in seconds."""
    try:
        start, stop = (float(part) for part in text.strip().strip("[]").split(":"))
    except ValueError as error:
        raise UsageError(f"{text!r} is no span; expected [start:stop]") from error
    return start, stop


def _open(path: Path) -> TextIO:
    try:
        return path.open(newline="", encoding="utf-8-sig")
    except OSError as error:
        raise NotFoundError(f"annotation file {path} cannot be read: {error.strerror}") from error
