"""What every operator is, and what it may reach while it runs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.errors import ExecutionError
from engine.operators.options import Options
from engine.operators.refiner import Redecode
from engine.operators.sandbox import Sandbox
from engine.operators.work import Embedded, Work
from engine.storage.store import Store


class Operator(Protocol):
    """A lazy stream of Arrow batches."""

    @property
    def schema(self) -> pa.Schema:
        """The columns of every batch."""

    def batches(self, context: "Context") -> Iterator[pa.RecordBatch]:
        """Yield the rows; nothing is computed before the first pull."""


class Encoder(Protocol):
    """The part of a model that queries need."""

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors `[T, E]`."""

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Unit vectors `[n, E]`."""


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a video, `[start_seconds, stop_seconds)`."""

    video_id: int
    start_seconds: float
    stop_seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What a video answers to a question."""

    answer: str
    confidence: float
    start_seconds: float
    stop_seconds: float


@dataclass(frozen=True, slots=True)
class Background:
    """Texts and pictures of all kinds: what a match by chance scores against."""

    texts: tuple[str, ...]
    images: tuple[NDArray[np.uint8], ...] = ()


@dataclass(frozen=True, slots=True)
class Null:
    """The distribution of centred scores that unrelated texts and frames have."""

    mean_text: NDArray[np.float32]
    mean_frame: NDArray[np.float32]
    middle: float
    width: float


Embedder = Callable[[Sequence[Range], Options], Embedded]
Responder = Callable[[int, str, tuple[str, ...] | None], Reply | None]  # None: no frames


@dataclass(slots=True)
class Context:
    """What a running plan reaches; `work` gathers what it did."""

    store: Store
    space: str
    encoder: Encoder
    sandbox: Sandbox
    background: Callable[[], Background]  # called only where a match must be calibrated
    embed: Embedder  # decodes and embeds what is missing of the given ranges, and stores it
    respond: Responder
    redecode: Redecode | None = None  # pictures of stored frames; None: rows stay as they are
    options: Options = field(default_factory=Options)
    batch_rows: int = 65_536
    started: float = field(default_factory=monotonic)
    work: Work = field(default_factory=Work)
    vectors: dict[str | bytes, NDArray[np.float32]] = field(default_factory=dict)
    null: Null | None = None

    def embed_missing(self, missing: Sequence[Range]) -> None:
        """Decode, embed and store what is missing, within what is left of the budget."""
        options = replace(self.options, budget_seconds=self.seconds_left)
        self.work.embedded.append(self.embed(missing, options))

    @property
    def seconds_left(self) -> float | None:
        """What remains of the query's budget, or None without one."""
        budget = self.options.budget_seconds
        return None if budget is None else max(0.0, budget - (monotonic() - self.started))


def read_table(operator: Operator, context: Context) -> pa.Table:
    """Run an operator to its end; an error of the engine's libraries names the operator."""
    try:
        return pa.Table.from_batches(operator.batches(context), operator.schema)
    except pa.ArrowException as error:
        name = type(operator).__name__
        raise ExecutionError(f"{name}: {str(error).splitlines()[0]}", operator=name) from error


def row_ids(rows: pa.Table | pa.RecordBatch) -> NDArray[np.int64]:
    """The store's ids of rows with `video_id` and `frame`."""
    videos = rows.column("video_id").to_numpy(zero_copy_only=False).astype(np.int64)
    frames = rows.column("frame").to_numpy(zero_copy_only=False).astype(np.int64)
    return (videos << 32) | frames
