"""What stands where in frames: boxes as rows, and a label's best score as a column."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.operators.base import Context, Operator, read_table
from schemas.tables import DETECTIONS


@dataclass(frozen=True, slots=True)
class Detecting:
    """The boxes in the source's GOPs, of one label and from a score on where these are given.

    Rows come some GOPs at a time: whoever takes no more has no more looked at.
    """

    source: Operator
    label: str | None
    min_score: float | None

    @property
    def schema(self) -> pa.Schema:
        """The columns of `detections`."""
        return DETECTIONS

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Check the label before anything is read."""
        detections = context.detections()
        known = detections.labels
        places = () if self.label is None else detections.places(self.label)
        meant = pa.array([known[place] for place in places], pa.string())
        for rows in detections.found(read_table(self.source, context), context):
            kept = rows
            if self.label is not None:
                kept = kept.filter(pc.is_in(kept.column("label"), meant))
            if self.min_score is not None:
                kept = kept.filter(pc.greater_equal(kept.column("score"), self.min_score))
            yield from kept.to_batches()


@dataclass(frozen=True, slots=True)
class Spotting:
    """Add a label's best score in each row's frame: 0 where there is none, NULL if not looked."""

    source: Operator
    name: str
    label: str

    @property
    def schema(self) -> pa.Schema:
        """The source's columns and the score."""
        return self.source.schema.append(pa.field(self.name, pa.float64()))

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Check the label before anything is read."""
        detections = context.detections()
        places = detections.places(self.label)
        for batch in self.source.batches(context):
            scores = detections.best(batch, places, context)
            column = pa.array(scores, mask=np.isnan(scores))
            yield pa.RecordBatch.from_arrays([*batch.columns, column], schema=self.schema)
