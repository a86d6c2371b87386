"""Which frames something that looks at pictures says yes to, within promised targets."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from time import perf_counter

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.operators.base import Context, Operator, read_table, row_ids
from engine.search.guarantee import Targets, guaranteed_filter
from engine.search.scores import subject_vector
from engine.search.work import LookWork

_AT_ONCE = 8  # pictures that are held


@dataclass(frozen=True, slots=True)
class Judging:
    """Add whether each frame passes; frames are ranked by the question's score against them.

    Where their vectors tell more of what has been said so far, they are ranked by what is learnt.
    The promise is of the rows that come, against what would be said of each if all were asked.
    """

    source: Operator
    name: str
    question: str
    targets: Targets
    max_calls: int | None

    @property
    def schema(self) -> pa.Schema:
        """The source's columns and whether a row passes."""
        return self.source.schema.append(pa.field(self.name, pa.bool_()))

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Read all rows, since what is asked of one rests on the others."""
        rows = read_table(self.source, context)
        begun, fresh = perf_counter(), 0
        vectors = context.reading.rows.vectors(row_ids(rows))
        scores = (vectors @ subject_vector(context, self.question)).astype(np.float64)
        videos, frames = (rows.column(name).to_numpy() for name in ("video_id", "frame"))

        def oracle(asked: NDArray[np.int64]) -> NDArray[np.bool_]:
            nonlocal fresh
            pairs = list(zip(videos[asked].tolist(), frames[asked].tolist(), strict=True))
            fresh += self._look(context, pairs)
            return np.array([context.looked[*pair, self.question] for pair in pairs], bool)

        seed = int.from_bytes(sha256(self.question.encode()).digest()[:8], "little")
        rng = np.random.default_rng([seed, len(rows)])
        found = guaranteed_filter(
            scores, oracle, self.targets, rng, max_calls=self.max_calls, vectors=vectors
        )
        promised = found.recall, found.precision
        took = perf_counter() - begun
        done = LookWork(len(rows), found.calls, fresh, *promised, took, found.learnt)
        context.work.note_looks(self.name, done)
        yield from rows.append_column(
            self.schema.field(self.name), pa.array(found.passes)
        ).to_batches(context.batch_rows)

    def _look(self, context: Context, pairs: list[tuple[int, int]]) -> int:
        """Ask about frames of which nothing is known yet, some of a video at a time; count them."""
        fresh = sorted(pair for pair in pairs if (*pair, self.question) not in context.looked)
        for video, group in groupby(fresh, key=lambda pair: pair[0]):
            numbers = [frame for _, frame in group]
            for at in range(0, len(numbers), _AT_ONCE):
                some = numbers[at : at + _AT_ONCE]
                said = context.look(video, some, self.question)
                for frame, passes in zip(some, said, strict=True):
                    context.looked[video, frame, self.question] = passes
        return len(fresh)
