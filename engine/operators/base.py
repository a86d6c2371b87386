"""What every operator is, and what it may reach while it runs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.cage.ending import is_ended
from engine.cage.sandbox import Sandbox
from engine.errors import ExecutionError, LimitError
from engine.search.context import SearchContext
from engine.storage import row_id


class Operator(Protocol):
    """A lazy stream of Arrow batches."""

    @property
    def schema(self) -> pa.Schema:
        """The columns of every batch."""

    def batches(self, context: "Context") -> Iterator[pa.RecordBatch]:
        """Yield the rows; nothing is computed before the first pull."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a video answers to a question."""

    answer: str
    confidence: float
    start_seconds: float
    stop_seconds: float


Question = tuple[int, str, tuple[str, ...] | None]  # video, text, choices
Responder = Callable[[int, str, tuple[str, ...] | None], Reply | None]  # None: no frames


@dataclass(slots=True, kw_only=True)
class Context(SearchContext):
    """What a running plan reaches: all that a search does, the sandbox and what answers."""

    sandbox: Sandbox
    respond: Responder
    batch_rows: int = 65_536
    shared: dict[str, pa.Table] = field(default_factory=dict)  # inputs that have been read
    replies: dict[Question, Reply | None] = field(default_factory=dict)  # each asked just once


def read_table(operator: Operator, context: Context) -> pa.Table:
    """Run an operator to its end; an error of the engine's libraries names the operator."""
    try:
        return pa.Table.from_batches(_awaited(operator, context), operator.schema)
    except pa.ArrowException as error:
        name = type(operator).__name__
        raise ExecutionError(f"{name}: {str(error).splitlines()[0]}", operator=name) from error


def _awaited(operator: Operator, context: Context) -> Iterator[pa.RecordBatch]:
    """Yield an operator's batches for as long as somebody waits for them."""
    for batch in operator.batches(context):
        if is_ended():
            raise LimitError("the query was ended: nobody waits for it", kind="ended")
        yield batch


def row_ids(rows: pa.Table | pa.RecordBatch) -> NDArray[np.int64]:
    """The store's ids of rows with `video_id` and `frame`."""
    columns = (rows.column(name).to_numpy(zero_copy_only=False) for name in ("video_id", "frame"))
    return row_id.pack(*columns)
