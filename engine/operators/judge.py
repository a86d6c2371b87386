"""Which rows something that looks at pictures says yes to, within promised targets."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from time import perf_counter

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.operators.base import Context, Operator, read_table
from engine.operators.looking import best_frames, look_at, sights_of
from engine.search.guarantee import Targets, guaranteed_filter
from engine.search.inquiry import Asked, YesNo
from engine.search.scores import subject_vector
from engine.search.work import LookWork


@dataclass(frozen=True, slots=True)
class Judging:
    """Add whether each frame or moment passes; they are ranked by the question's score.

    A moment has the score and the vector of the best of its frames that are looked at. Where
    vectors tell more of what has been said so far, rows are ranked by what is learnt.
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
        begun, fresh, inquiry = perf_counter(), 0, YesNo(self.question)
        sights = sights_of(rows, context)
        vectors, scores = best_frames(sights, subject_vector(context, self.question), context)

        def oracle(asked: NDArray[np.int64]) -> NDArray[np.bool_]:
            nonlocal fresh
            some: list[Asked] = [(sights[at], inquiry) for at in asked.tolist()]
            fresh += look_at(context, some)
            return np.array([context.looked[each] for each in some], bool)

        seed = int.from_bytes(sha256(self.question.encode()).digest()[:8], "little")
        rng = np.random.default_rng([seed, len(rows)])
        found = guaranteed_filter(
            scores, oracle, self.targets, rng, max_calls=self.max_calls, vectors=vectors
        )
        promised = found.recall, found.precision
        took = perf_counter() - begun
        what = "frames" if "frame" in rows.schema.names else "moments"
        done = LookWork(len(rows), found.calls, fresh, *promised, took, found.learnt, what)
        context.work.note_looks(self.name, done)
        yield from rows.append_column(
            self.schema.field(self.name), pa.array(found.passes)
        ).to_batches(context.batch_rows)
