"""Counts and times what an operator gives."""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import pyarrow as pa

from engine.operators.base import Context, Operator
from engine.operators.frame_rows import FrameRows, FramesOfSource, as_frames
from engine.search.work import Run


@dataclass(frozen=True, slots=True)
class Timed(FramesOfSource):
    """Pass everything on; rows, batches and seconds go into the context's work under `place`."""

    source: Operator
    place: int

    @property
    def schema(self) -> pa.Schema:
        """The source's columns."""
        return self.source.schema

    def frame_rows(self, context: Context) -> FrameRows:
        """Time the search for the places; a column that is read later is not of the source."""
        source, run = as_frames(self.source), context.work.runs.setdefault(self.place, Run())
        assert source is not None
        start = perf_counter()
        rows = source.frame_rows(context)
        run.seconds += perf_counter() - start
        run.rows += len(rows)
        run.batches += 1
        return rows

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Time each pull."""
        feed = self.source.batches(context)
        while True:
            start = perf_counter()
            batch = next(feed, None)
            # only now: what is read anew below forgets what was noted before
            run = context.work.runs.setdefault(self.place, Run())
            run.seconds += perf_counter() - start
            if batch is None:
                return
            run.rows += batch.num_rows
            run.batches += 1
            yield batch
