"""What every operator is, and what it may reach while it runs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.cage.ending import check_awaited
from engine.cage.sandbox import Sandbox
from engine.errors import ExecutionError, UsageError
from engine.search.context import SearchContext
from engine.search.inquiry import Asked
from engine.storage import row_id
from engine.storage.vocabulary import Vocabulary
from engine.zones import Zone


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


class Actions(Protocol):
    """A model that names what happens in clips, and what the store holds of it."""

    @property
    def caution(self) -> str | None:
        """What has to be known before a label is relied on."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What it tells apart."""

    @property
    def space(self) -> str:
        """The key of the space that its answers are kept in."""

    def place(self, label: str) -> int:
        """Return a label's place; raises UsageError for one that the model does not know."""

    def clips(self, gops: pa.Table) -> pa.Table:
        """Spans of the videos of these GOPs, as rows of `clips`."""

    def too_short(self, gops: pa.Table) -> str | None:
        """Say how many videos have no clip, for they are shorter than one; None: all have some."""

    def stored(self, clips: pa.Table | pa.RecordBatch) -> NDArray[np.bool_]:
        """Tell which clips have been classified before."""

    def classify(self, clips: pa.RecordBatch, context: "Context") -> NDArray[np.float32]:
        """Probabilities `[n, C]` of clips; those not stored are made, NaN where that cannot be."""


def no_actions() -> Actions:
    """Stand in where there is no action model."""
    raise UsageError("this statement needs an action model, and there is none here")


class Detections(Protocol):
    """A model that finds objects in frames, and what the store holds of it."""

    @property
    def caution(self) -> str | None:
        """What has to be known before a box is relied on."""

    @property
    def space(self) -> str:
        """The key of the space that its boxes are kept in."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What the model tells apart."""

    def places(self, label: str) -> tuple[int, ...]:
        """Return where a label or what a word stands for is; unknown ones raise UsageError."""

    def stored(self, gops: pa.Table, context: "Context") -> NDArray[np.bool_]:
        """Tell which groups of pictures have been looked at before."""

    def found(self, gops: pa.Table, context: "Context") -> Iterator[pa.Table]:
        """Yield the boxes in groups of pictures, some groups at a time; what lacks is made."""

    def best(
        self, frames: pa.RecordBatch, places: Sequence[int], context: "Context"
    ) -> NDArray[np.float64]:
        """Return the best score of a label in each frame, 0 without one, NaN if not looked."""


def no_detections() -> Detections:
    """Stand in where there is no detector."""
    raise UsageError("this statement needs a detector, and there is none here")


def no_looks(asked: Sequence[Asked]) -> list[Any]:  # noqa: ARG001
    """Stand in where nothing looks at pictures."""
    raise UsageError("this statement needs something that looks at pictures; there is none here")


Question = tuple[int, str, tuple[str, ...] | None]  # video, text, choices
Responder = Callable[[int, str, tuple[str, ...] | None], Reply | None]  # None: no frames


def none_answered(video: int, question: str, choices: tuple[str, ...] | None) -> bool:  # noqa: ARG001
    """Stand in where no answers are kept."""
    return False


@dataclass(slots=True, kw_only=True)
class Context(SearchContext):
    """What a running plan reaches: all that a search does, the sandbox and what answers."""

    sandbox: Sandbox
    respond: Responder
    is_answered: Callable[[int, str, tuple[str, ...] | None], bool] = none_answered
    actions: Callable[[], Actions] = no_actions
    detections: Callable[[], Detections] = no_detections
    zones: tuple[tuple[str, Zone], ...] = ()
    look: Callable[[Sequence[Asked]], list[Any]] = no_looks
    looked: dict[Asked, Any] = field(default_factory=dict)  # said before
    batch_rows: int = 65_536
    shared: dict[str, pa.Table] = field(default_factory=dict)  # inputs that have been read
    passing: object | None = None  # what was learned of conditions, looked up once
    replies: dict[Question, Reply | None] = field(default_factory=dict)  # each asked just once

    def vocabulary(self) -> Vocabulary:
        """Return what users have added to what statements may name."""
        return replace(self.store.catalog.vocabulary(), zones=self.zones)


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
        check_awaited()
        yield batch


def row_ids(rows: pa.Table | pa.RecordBatch) -> NDArray[np.int64]:
    """The store's ids of rows with `video_id` and `frame`."""
    columns = (rows.column(name).to_numpy(zero_copy_only=False) for name in ("video_id", "frame"))
    return row_id.pack(*columns)
