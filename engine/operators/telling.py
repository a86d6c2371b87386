"""What something that looks tells of each row: a label, a form filled, the texts that hold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import pyarrow as pa

from engine.errors import LimitError
from engine.operators.base import Context, Operator, read_table
from engine.operators.looking import look_at, sights_of, vectors_of
from engine.search.inquiry import Asked, Filled, OneOf, Sight, YesNo, value_of
from engine.search.scores import subject_vector
from engine.search.work import TellWork


@dataclass(frozen=True, slots=True)
class Telling:
    """Add what is answered of each frame or moment; the same sight is looked at once."""

    source: Operator
    name: str
    inquiry: OneOf | Filled
    max_calls: int | None

    @property
    def schema(self) -> pa.Schema:
        """The source's columns and the answer."""
        return self.source.schema.append(pa.field(self.name, self.inquiry.kind))

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Read all rows, since what they cost is known before anything is asked."""
        rows = read_table(self.source, context)
        asked = [(each, self.inquiry) for each in sights_of(rows, context)]
        done = _ask(context, asked, len(rows), self.max_calls, self.inquiry.call)
        context.work.note_tells(self.name, done)
        kind = self.inquiry.kind
        column = pa.array([value_of(context.looked[each], kind) for each in asked], kind)
        yield from rows.append_column(self.schema.field(self.name), column).to_batches(
            context.batch_rows
        )


@dataclass(frozen=True, slots=True)
class Pairing:
    """Add which texts hold of each frame or moment, of those that it is most like.

    A moment is as much like a text as the best of its frames that are looked at.
    """

    source: Operator
    name: str
    texts: tuple[str, ...]
    question: str
    candidates: int
    max_calls: int | None

    @property
    def schema(self) -> pa.Schema:
        """The source's columns and the list of texts."""
        return self.source.schema.append(pa.field(self.name, pa.list_(pa.string())))

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Read all rows, since what they cost is known before anything is asked."""
        rows = read_table(self.source, context)
        sights = sights_of(rows, context)
        likely = self._likely(sights, context)
        pairs: list[list[Asked]] = [
            [(sight, YesNo(self.question.replace("{}", self.texts[at]))) for at in own]
            for sight, own in zip(sights, likely, strict=True)
        ]
        asked = [pair for own in pairs for pair in own]
        done = _ask(context, asked, len(rows), self.max_calls, "AI_JOIN")
        context.work.note_tells(self.name, done)
        held = [
            [self.texts[at] for at, pair in zip(own, asked_of, strict=True) if context.looked[pair]]
            for own, asked_of in zip(likely, pairs, strict=True)
        ]
        column = pa.array(held, pa.list_(pa.string()))
        yield from rows.append_column(self.schema.field(self.name), column).to_batches(
            context.batch_rows
        )

    def _likely(self, sights: Sequence[Sight], context: Context) -> list[list[int]]:
        """Return the places of the texts that each sight is most like, the likeliest first."""
        if not sights or not self.texts:
            return [[] for _ in sights]
        vectors, sizes = vectors_of(sights, context)
        texts = np.stack([subject_vector(context, text) for text in self.texts])
        scores = np.maximum.reduceat(vectors @ texts.T, np.cumsum(sizes) - sizes)
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self.candidates]
        found: list[list[int]] = order.tolist()
        return found


def _ask(
    context: Context,
    asked: Sequence[Asked],
    rows: int,
    most: int | None,
    call: str,
) -> TellWork:
    """Ask what is not known yet, unless that is more than is allowed."""
    begun, asked = perf_counter(), list(dict.fromkeys(asked))
    fresh = sum(each not in context.looked for each in asked)
    if most is not None and fresh > most:
        raise LimitError(
            f"{call} needs {fresh:,} calls for {rows:,} rows, max_calls is {most:,}; allowed: a"
            " higher max_calls, or fewer rows",
            kind="rows",
        )
    look_at(context, asked)
    return TellWork(rows, len(asked), fresh, perf_counter() - begun)
