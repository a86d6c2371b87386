"""The card of the built-in model: what it is, how well it does, and what it cannot."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from engine.vision.backbone.locate import BUILTIN


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """A table of a card: its head and its rows, as text."""

    title: str
    note: str  # under which conditions it was measured
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model's makers say of it."""

    about: str
    facts: tuple[tuple[str, ...], ...]
    scores: tuple[ScoreTable, ...]
    limits: tuple[str, ...]

    @property
    def licence(self) -> str:
        """What it may be used under."""
        return next(told[-1] for told in self.facts if told[0] == "Licence")


@cache
def read_card() -> ModelCard:
    """Return the card that lies beside the built-in model's weights."""
    text = (BUILTIN / "MODEL_CARD.md").read_text()
    parts = re.split(r"^##? (.+)$", text, flags=re.M)
    named = dict(zip(parts[1::2], map(_blocks, parts[2::2]), strict=True))
    first = next(iter(named.values()))
    scores = [
        ScoreTable(title, _last(_plain(" ".join(before))), *_table(block))
        for title in ("Scores", "The patch reader")
        for before, block in zip(named[title], named[title][1:], strict=False)
        if block[0].startswith("|")
    ]
    limits = [each for block in named["Limits"] for each in _points(block)]
    return ModelCard(_plain(" ".join(first[0])), _table(first[1])[1], tuple(scores), tuple(limits))


def _blocks(text: str) -> list[list[str]]:
    """Split a section into paragraphs, tables and lists, each as its lines."""
    lines = groupby(text.splitlines(), key=lambda line: bool(line.strip()))
    return [list(block) for filled, block in lines if filled]


def _table(lines: list[str]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return a table's head and its rows."""
    head, _, *rows = (tuple(map(_plain, line.strip("| ").split(" | "))) for line in lines)
    width = max(map(len, rows))
    return ("",) * (width - len(head)) + head, tuple(rows)


def _points(lines: list[str]) -> Iterator[str]:
    """Yield the points of a list, each in one line."""
    for point in re.split(r"^- ", "\n".join(lines), flags=re.M)[1:]:
        yield _plain(" ".join(map(str.strip, point.splitlines())))


def _last(text: str) -> str:
    """Return the sentence that leads to what follows."""
    return re.split(r"(?<=\.) (?=[A-Z])", text)[-1].rstrip(":")


def _plain(text: str) -> str:
    """Return what marked-up text says."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)|\*\*|`", r"\1", text).strip()
