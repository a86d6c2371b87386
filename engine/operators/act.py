"""What happens in clips, as a column."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engine.operators.base import Context, Operator


@dataclass(frozen=True, slots=True)
class Acting:
    """Add a label's probability in each row's clip, or without one the likeliest label.

    A clip is classified when its row comes, once whatever is asked of it; NULL where it cannot be.
    """

    source: Operator
    name: str
    label: str | None

    @property
    def schema(self) -> pa.Schema:
        """The source's columns and the value."""
        kind = pa.string() if self.label is None else pa.float64()
        return self.source.schema.append(pa.field(self.name, kind))

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Check the label before anything is read."""
        actions = context.actions()
        place = None if self.label is None else actions.place(self.label)
        for batch in self.source.batches(context):
            found = actions.classify(batch, context)
            unknown = np.isnan(found).any(1)
            column: pa.Array
            if place is not None:
                column = pa.array(found[:, place].astype(np.float64), mask=unknown)
            else:
                likeliest = np.where(unknown, 0, np.nan_to_num(found).argmax(1))
                names = np.array(actions.labels, dtype=object)[likeliest]
                column = pa.array(names, pa.string(), mask=unknown)
            yield pa.RecordBatch.from_arrays([*batch.columns, column], schema=self.schema)
