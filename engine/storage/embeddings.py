"""Rows of a stretch as they are stored: what is known of each frame, its vector in float16."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engine.errors import UsageError
from schemas import tables

UNIT_TOLERANCE = 1e-2
CARRIED = "carried"  # the strategy of a row whose picture was not decoded


@dataclass(frozen=True, slots=True)
class Rows:
    """Sampled frames of one stretch, in the order of their times."""

    frame: np.ndarray  # int32 [n], 0-based number of the sampled frame within the video
    seconds: np.ndarray  # float64 [n]
    picture: Sequence[str]  # "I", "P", "B" or "?"
    embeddings: np.ndarray  # float32 [n, E], unit rows; stored as float16
    reuse_rate: np.ndarray  # float32 [n]
    drift: np.ndarray  # float32 [n], 1 - cosine to dense; NaN where not estimated
    exact: np.ndarray  # bool [n], the vector is the dense one
    carried: np.ndarray | None = None  # bool [n], it is an earlier picture's; None: none is

    def __post_init__(self) -> None:
        count = len(self.frame)
        columns = (self.seconds, self.picture, self.reuse_rate, self.drift, self.exact)
        if self.embeddings.ndim != 2 or {len(c) for c in (*columns, self.embeddings)} != {count}:
            raise UsageError(f"expected {count} rows in every column and embeddings [n, E]")
        rising = bool((self.frame[1:] > self.frame[:-1]).all())
        if not rising and len(np.unique(self.frame)) != count:
            raise UsageError("expected every frame once among the rows of a stretch")
        check_unit(self.embeddings)


def check_unit(embeddings: np.ndarray) -> None:
    """Raise UsageError unless all rows have the length 1."""
    off = np.abs(np.linalg.norm(embeddings.astype(np.float32, copy=False), axis=-1) - 1)
    if not bool((off <= UNIT_TOLERANCE).all()):  # a NaN compares false
        raise UsageError(f"expected vectors of length 1, one is off by {np.max(off):.3g}")


def to_table(rows: Rows, video_id: int, strategy: str) -> pa.Table:
    """Return rows of a video as they are stored."""
    dimension = rows.embeddings.shape[1]
    drift = np.asarray(rows.drift, np.float32)
    strategies = np.full(len(rows.frame), strategy, object)
    if rows.carried is not None:
        strategies[rows.carried] = CARRIED
    columns = {
        "video_id": np.full(len(rows.frame), video_id, np.int64),
        "frame": np.asarray(rows.frame, np.int32),
        "seconds": np.asarray(rows.seconds, np.float64),
        "picture": pa.array(rows.picture, pa.string()),
        "strategy": pa.array(strategies, pa.string()),
        "reuse_rate": np.asarray(rows.reuse_rate, np.float32),
        "drift": pa.array(drift, pa.float32(), mask=np.isnan(drift)),
        "exact": np.asarray(rows.exact, bool),
        "embedding": vector_column(rows.embeddings),
    }
    return pa.table(columns, schema=tables.embeddings(dimension))


def vector_column(embeddings: np.ndarray) -> pa.Array:
    """Return `[n, E]` as a column of vectors in float16, each the bytes of its numbers."""
    packed = np.ascontiguousarray(embeddings, np.float16)
    kind = tables.embeddings(packed.shape[1]).field("embedding").type
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(packed), [None, pa.py_buffer(packed)])


def vector_lists(embeddings: np.ndarray) -> pa.Array:
    """Return `[n, E]` as a column of lists of float16, as people read them."""
    flat = pa.array(np.ascontiguousarray(embeddings, np.float16).reshape(-1))
    kind = pa.list_(pa.field("item", pa.float16(), nullable=False), embeddings.shape[1])
    return pa.FixedSizeListArray.from_arrays(flat, type=kind)


def vectors_of(table: pa.Table) -> np.ndarray:
    """Return the vectors of a part's table: float16 `[n, E]`."""
    column = table.column("embedding").combine_chunks()
    width = column.type.byte_width
    packed = np.frombuffer(column.buffers()[1] or b"", np.uint8)
    own = packed[width * column.offset :][: width * len(column)]
    return own.view(np.float16).reshape(-1, width // 2)


def with_packed_vectors(table: pa.Table) -> pa.Table:
    """Return a part's rows with vectors as they are written now; older parts have lists."""
    at = table.schema.get_field_index("embedding")
    if at < 0 or pa.types.is_fixed_size_binary(table.schema.field(at).type):
        return table
    lists = table.column("embedding").combine_chunks()
    values = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, lists.type.list_size)
    field = tables.embeddings(values.shape[1]).field("embedding")
    return table.set_column(at, field, vector_column(values))
