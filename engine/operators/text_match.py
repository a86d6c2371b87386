"""How well what is said while a row lasts holds words, as a column."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.operators.base import Context, Operator
from engine.operators.frame_rows import FrameRows, FramesOfSource, as_frames, batches_of
from engine.search.words import LinesFound, Words

_FOREVER = np.inf


@dataclass(frozen=True, slots=True)
class TextMatching(FramesOfSource):
    """Add the best score of the lines said in a row's time.

    A video's time is all of it, a frame's its second, a clip's, GOP's and moment's their span; a
    row of `transcript` is a line itself. 0 where no line holds a word, NULL without a transcript.
    """

    source: Operator
    name: str
    text: str

    @property
    def schema(self) -> pa.Schema:
        """The source's columns and the score."""
        return self.source.schema.append(pa.field(self.name, pa.float64()))

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Look the words up once."""
        if self.gives_frames:
            yield from batches_of(self, context)
            return
        words = context.words()
        hits = words.search(self.text)
        for batch in self.source.batches(context):
            scores = _of_lines(words, hits, batch) if "line" in batch.schema.names else None
            if scores is None:
                columns = [_numbers(batch, name) for name in ("video_id", *_span(batch.schema))]
                starts = columns[1] if len(columns) > 1 else np.full(len(batch), -_FOREVER)
                stops = columns[2] if len(columns) > 2 else np.full(len(batch), _FOREVER)
                scores = best(words, hits, columns[0], starts, stops)
            column = pa.array(scores, pa.float64(), mask=np.isnan(scores))
            yield pa.RecordBatch.from_arrays([*batch.columns, column], schema=self.schema)

    def frame_rows(self, context: Context) -> FrameRows:
        """Return frames by their places, with their scores."""
        source = as_frames(self.source)
        assert source is not None
        rows, words = source.frame_rows(context), context.words()
        videos, seconds = (rows.column(name).to_numpy() for name in ("video_id", "seconds"))
        after = np.nextafter(seconds, _FOREVER)
        found = best(words, words.search(self.text), videos, seconds, after)
        return rows.adding(self.name, found)


def best(
    words: Words,
    hits: LinesFound,
    videos: NDArray[np.int64],
    starts: NDArray[np.float64],
    stops: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the best score of the lines in spans of videos; NaN for a video without lines."""
    known = np.unique([source.part.video_id for source in words.sources if len(source.starts)])
    scores = np.where(np.isin(videos, known), 0.0, np.nan)
    order = np.argsort(videos, kind="stable")
    ranked = videos[order]
    for at in np.unique(hits.sources).tolist():
        source = words.sources[at]
        rows = order[slice(*np.searchsorted(ranked, source.part.video_id + np.arange(2)))]
        if not len(rows):
            continue
        own = hits.sources == at
        lines = hits.lines[own]
        said = source.starts[lines], source.stops[lines], hits.scores[own]
        raise_scores(scores, rows, starts, stops, said)
    return scores


def raise_scores(
    scores: NDArray[np.float64],
    rows: NDArray[np.int64],
    starts: NDArray[np.float64],
    stops: NDArray[np.float64],
    lines: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
) -> None:
    """Raise the scores of the rows of one video to those of lines that overlap them."""
    rows = rows[np.argsort(starts[rows], kind="stable")]
    while len(rows):  # those that end before one does that began before them wait for the next turn
        rising = stops[rows] == np.maximum.accumulate(stops[rows])
        own = rows[rising]
        scores[own] = np.maximum(scores[own], _highest(starts[own], stops[own], *lines))
        rows = rows[~rising]


def _highest(
    begins: NDArray[np.float64],
    ends: NDArray[np.float64],
    starts: NDArray[np.float64],
    stops: NDArray[np.float64],
    scores: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the highest score of the lines that overlap each of some spans; both sides rise.

    A line's spans are two runs of a power of two; runs are halved down to single spans, so that
    many long lines over many spans take no longer than short ones.
    """
    first, last = np.searchsorted(ends, starts, "right"), np.searchsorted(begins, stops, "left")
    powers = np.frexp(np.maximum(last - first, 0))[1] - 1  # -1: none
    highest = np.zeros(len(begins))
    for power in range(int(powers.max(initial=-1)), -1, -1):
        half, halved = 1 << power, highest.copy()
        halved[half:] = np.maximum(highest[half:], highest[:-half])
        own = powers == power
        np.maximum.at(halved, first[own], scores[own])
        np.maximum.at(halved, last[own] - half, scores[own])
        highest = halved
    return highest


def _of_lines(words: Words, hits: LinesFound, batch: pa.RecordBatch) -> NDArray[np.float64]:
    """Return the score of each row of `transcript`."""
    places = {(s.part.video_id, s.part.source): at for at, s in enumerate(words.sources)}
    known = {
        (at, line): score
        for at, line, score in zip(
            hits.sources.tolist(), hits.lines.tolist(), hits.scores.tolist(), strict=True
        )
    }
    keys = zip(*(batch.column(n).to_pylist() for n in ("video_id", "source", "line")), strict=True)
    return np.array([known.get((places.get((v, s), -1), n), 0.0) for v, s, n in keys], np.float64)


def _span(schema: pa.Schema) -> tuple[str, ...]:
    return ("start_seconds", "stop_seconds") if "start_seconds" in schema.names else ()


def _numbers(batch: pa.RecordBatch, name: str) -> NDArray[Any]:
    return np.asarray(batch.column(name).to_numpy(zero_copy_only=False))
