"""Which lines hold words, and how well: BM25 over all that is said, exact and in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from pathlib import Path
from threading import Lock
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.search.tokens import tokens, words_sought
from engine.storage.records import Transcript
from engine.storage.transcripts import Transcripts
from schemas.tables import TRANSCRIPT

K1: Final = 1.2
B: Final = 0.75


@dataclass(frozen=True, slots=True)
class Postings:
    """The lines of one source by their words: line and count of `w` at `[starts[w], starts[w+1])`.

    Lines are in the order of their times, words by their place in `places`.
    """

    lengths: NDArray[np.int32]  # words of each line
    places: Mapping[str, int]
    starts: NDArray[np.int64]
    lines: NDArray[np.int32]
    counts: NDArray[np.int32]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Postings":
        """Count the words of texts."""
        places: dict[str, int] = {}
        words, lines, lengths = list[int](), list[int](), np.zeros(len(texts), np.int32)
        for line, text in enumerate(texts):
            found = tokens(text)
            lengths[line] = len(found)
            words += [places.setdefault(word, len(places)) for word in found]
            lines += [line] * len(found)
        pairs = np.array(words, np.int64) * max(1, len(texts)) + np.array(lines, np.int64)
        unique, counts = np.unique(pairs, return_counts=True)
        held = unique // max(1, len(texts))
        starts = np.searchsorted(held, np.arange(len(places) + 1))
        rows = (unique % max(1, len(texts))).astype(np.int32)
        return cls(lengths, places, starts, rows, counts.astype(np.int32))

    def of_word(self, word: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the lines that hold a word, rising, and how often each does."""
        place = self.places.get(word)
        own = slice(0, 0) if place is None else slice(*self.starts[place : place + 2])
        return self.lines[own], self.counts[own]


@dataclass(frozen=True, slots=True)
class SourceWords:
    """The lines of one source of a video."""

    part: Transcript
    lines: pa.Table  # as `LINES`
    starts: NDArray[np.float64]
    stops: NDArray[np.float64]
    postings: Postings


@dataclass(frozen=True, slots=True)
class LinesFound:
    """Lines that hold a sought word: of source `sources[i]` line `lines[i]`, best first."""

    sources: NDArray[np.int64]
    lines: NDArray[np.int32]
    scores: NDArray[np.float64]
    shares: NDArray[np.float64]  # of what the sought words weigh together, held by the line


@dataclass(frozen=True, slots=True)
class WordCounts:
    """What BM25 weighs sought words by: of one store, or of several that are asked together."""

    num_lines: int
    num_words: int
    held: tuple[int, ...]  # lines that hold each sought word

    @property
    def mean_length(self) -> float:
        """Words of a line, on average."""
        return self.num_words / self.num_lines if self.num_lines else 0.0

    @property
    def weights(self) -> list[float]:
        """What each sought word weighs: the more, the fewer lines hold it."""
        return [log(1 + (self.num_lines - held + 0.5) / (held + 0.5)) for held in self.held]

    def __add__(self, other: "WordCounts") -> "WordCounts":
        held = tuple(a + b for a, b in zip(self.held, other.held, strict=True))
        return WordCounts(self.num_lines + other.num_lines, self.num_words + other.num_words, held)


@dataclass(frozen=True)
class Words:
    """All that is said in a store's videos, at one moment."""

    sources: tuple[SourceWords, ...]

    @cached_property
    def table(self) -> pa.Table:
        """All lines, as the relation `transcript` has them."""
        tables = []
        for source in self.sources:
            count, part = len(source.lines), source.part
            columns = [
                pa.array(np.full(count, part.video_id, np.int64)),
                pa.array(np.arange(count, dtype=np.int32)),
                *(source.lines.column(name) for name in source.lines.schema.names),
                pa.array([part.language] * count, pa.string()),
                pa.array([part.source] * count, pa.string()),
            ]
            tables.append(pa.table(columns, schema=TRANSCRIPT))
        return pa.concat_tables(tables) if tables else TRANSCRIPT.empty_table()

    @cached_property
    def num_lines(self) -> int:
        """How many lines there are."""
        return sum(len(source.starts) for source in self.sources)

    @cached_property
    def num_words(self) -> int:
        """How many words they have."""
        return sum(int(source.postings.lengths.sum()) for source in self.sources)

    def count(self, text: str) -> WordCounts:
        """Count what the words of a text are weighed by."""
        held = (
            sum(len(source.postings.of_word(word)[0]) for source in self.sources)
            for word in words_sought(text)
        )
        return WordCounts(self.num_lines, self.num_words, tuple(held))

    def search(self, text: str, counts: WordCounts | None = None) -> LinesFound:
        """Return every line that holds a word of a text, by BM25, best first.

        Words are weighed by the lines that there are, or by `counts` of more stores than this.
        """
        counts = counts or self.count(text)
        found = [
            self._scored(at, [source.postings.of_word(word) for word in words_sought(text)], counts)
            for at, source in enumerate(self.sources)
        ]
        parts = [part for part in found if len(part.lines)]
        if not parts:
            none = np.empty(0)
            return LinesFound(none.astype(np.int64), none.astype(np.int32), none, none)
        sources, lines, scores, shares = (
            np.concatenate([getattr(part, name) for part in parts]) for name in LinesFound.__slots__
        )
        order = np.argsort(-scores, kind="stable")
        return LinesFound(sources[order], lines[order], scores[order], shares[order])

    def _scored(
        self,
        at: int,
        held: Sequence[tuple[NDArray[np.int32], NDArray[np.int32]]],
        all_counts: WordCounts,
    ) -> LinesFound:
        """Score the lines of one source."""
        lengths, weights = self.sources[at].postings.lengths, all_counts.weights
        lines = np.unique(np.concatenate([own for own, _ in held] or [np.empty(0, np.int32)]))
        scores, shares = np.zeros(len(lines)), np.zeros(len(lines))
        for (own, counts), weight in zip(held, weights, strict=True):
            place = np.searchsorted(lines, own)
            long = K1 * (1 - B + B * lengths[own] / all_counts.mean_length)
            scores[place] += weight * counts * (K1 + 1) / (counts + long)
            shares[place] += weight
        total = sum(weights) or 1.0
        return LinesFound(np.full(len(lines), at), lines.astype(np.int32), scores, shares / total)


class Spoken:
    """Gives what is said in a store at present; of each source the words are counted once."""

    def __init__(self, transcripts: Transcripts) -> None:
        self._transcripts = transcripts
        self._sources: dict[int, SourceWords] = {}
        self._held = Words(())
        self._state: tuple[Path, int] | None = None
        self._counting = Lock()

    def words(self) -> Words:
        """Return all that is said, as it is now."""
        with self._counting:
            state = self._transcripts.state
            if state == self._state:
                return self._held
            parts = self._transcripts.listed()
            if [source.part for source in self._held.sources] != parts:
                sources = [source for part in parts if (source := self._source(part)) is not None]
                self._sources = {source.part.part_id: source for source in sources}
                self._held = Words(tuple(sources))
            self._state = state
            return self._held

    def _source(self, part: Transcript) -> SourceWords | None:
        if (known := self._sources.get(part.part_id)) is not None:
            return known
        lines = self._transcripts.lines(part)
        if lines is None:
            return None
        starts, stops = (lines.column(n).to_numpy() for n in ("start_seconds", "stop_seconds"))
        return SourceWords(
            part, lines, starts, stops, Postings.of(lines.column("text").to_pylist())
        )
