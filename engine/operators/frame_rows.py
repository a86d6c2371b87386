"""Frames by their places: ids first, columns late, and of the rows that are left alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, Self, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.operators.base import Context, Operator, read_table, row_ids
from engine.storage.view import FrameTable, Places
from schemas.tables import FRAMES


@dataclass(frozen=True, slots=True)
class FrameRows:
    """Rows of `frames` at places, in that order, with columns that were computed for them."""

    frames: FrameTable
    places: Places | None = None  # None: all, in their order
    computed: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frames) if self.places is None else len(self.places)

    @property
    def listed(self) -> Places:
        """The places as numbers."""
        return np.arange(len(self.frames)) if self.places is None else self.places

    def take(self, which: NDArray[np.integer] | slice) -> Self:
        """Return some of these rows by their numbers, in that order."""
        computed = {name: values[which] for name, values in self.computed.items()}
        # of all rows the number is the place
        whole = self.places is None and not isinstance(which, slice)
        places = np.asarray(which, np.int64) if whole else self.listed[which]
        return replace(self, places=places, computed=computed)

    def at(self, places: Places) -> Self:
        """Return those of these rows that lie at places, in their order."""
        if not self.computed:
            return replace(self, places=places)
        order = np.argsort(self.listed)
        return self.take(order[np.searchsorted(self.listed[order], places)])

    def keep(self, mask: NDArray[np.bool_]) -> Self:
        """Return the rows where a mask holds."""
        return self.take(np.flatnonzero(mask))

    def adding(self, name: str, values: NDArray[np.float64]) -> Self:
        """Return this with one more column."""
        return replace(self, computed={**self.computed, name: values})

    def column(self, name: str) -> pa.ChunkedArray:
        """Read one column."""
        if name in self.computed:
            return pa.chunked_array([_scores(self.computed[name])])
        return self.frames.table([name], self.places).column(name)

    def table(self, schema: pa.Schema) -> pa.Table:
        """Read all columns of a schema."""
        stored = [name for name in schema.names if name in FRAMES.names]
        rows = self.frames.table(stored, self.places)
        for name in schema.names:
            if name in self.computed:
                rows = rows.append_column(schema.field(name), _scores(self.computed[name]))
        return rows.select(schema.names).cast(schema)


@runtime_checkable
class FrameOperator(Operator, Protocol):
    """An operator that may give frames of the store."""

    @property
    def gives_frames(self) -> bool:
        """Whether the rows are frames of the store, so that `frame_rows` may be called."""

    def frame_rows(self, context: Context) -> FrameRows:
        """Return the rows by their places."""


def as_frames(operator: Operator) -> FrameOperator | None:
    """Return an operator as one that gives frames, or None where it does not."""
    found = isinstance(operator, FrameOperator) and operator.gives_frames
    return operator if found else None  # type: ignore[return-value]


def frames_given(source: Operator, context: Context) -> FrameRows:
    """Return the frames that any operator gives, by their places; rising if it does not say."""
    frames = as_frames(source)
    if frames is not None:
        return frames.frame_rows(context)
    known = context.reading.view.frames
    return FrameRows(known, np.sort(known.places(row_ids(read_table(source, context)))))


class FramesOfSource:
    """What gives frames of the store where its source does."""

    __slots__ = ()
    source: Operator

    @property
    def gives_frames(self) -> bool:
        """Whether the source gives frames."""
        return as_frames(self.source) is not None


def batches_of(source: FrameOperator, context: Context) -> Iterator[pa.RecordBatch]:
    """Yield a source's frames with all columns."""
    rows = source.frame_rows(context)
    yield from rows.table(source.schema).to_batches(context.batch_rows)


@dataclass(frozen=True, slots=True)
class Stored:
    """Frames that are given."""

    rows: FrameRows
    schema: pa.Schema
    gives_frames: bool = True

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Read all columns."""
        return batches_of(self, context)

    def frame_rows(self, context: Context) -> FrameRows:  # noqa: ARG002
        """Return the given rows."""
        return self.rows


def _scores(values: NDArray[np.float64]) -> pa.Array:
    """A row that is absent has no score."""
    return pa.array(values, pa.float64(), from_pandas=True)
