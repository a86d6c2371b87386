"""Frames with their vectors for Spark, Daft and Ray Data, read from the parts as they are valid.

Each reads the Parquet files by itself, as it likes, and joins them with which row of which file is
valid: files also hold vectors that were superseded. The columns are `COLUMNS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.errors import NotFoundError, StoreError, UsageError, unknown
from engine.storage.store import Store

COLUMNS: Final = (
    *("video_id", "name", "frame", "seconds", "picture", "strategy", "reuse_rate", "drift"),
    *("exact", "embedding"),
)
_KEYS: Final = ("part_id", "video_id", "frame", "exact")
_READ: Final = ("video_id", "frame", "exact", "embedding")  # of the files
_NUMBER: Final = r"(\d+)\.parquet"


@dataclass(frozen=True, slots=True)
class ValidRows:
    """The part files of a space, and which rows of each are valid."""

    files: tuple[Path, ...]
    rows: pa.Table  # part_id and all columns but the vector
    columns: tuple[str, ...]  # that are wanted


def valid_rows(
    root: str | Path, space: str | None = None, columns: Sequence[str] | None = None
) -> ValidRows:
    """Return what a store has published last of a space, or of the one that queries use.

    While it is read nothing must compact the store: files that are replaced are deleted.
    """
    wanted = tuple(COLUMNS if columns is None else columns)
    wrong = next((name for name in wanted if name not in COLUMNS), None)
    if wrong is not None or not wanted:
        raise UsageError(unknown("column", wrong or "", COLUMNS))
    with Store.read(Path(root)) as store:
        current = store.catalog.current_space()
        if space is None and current is None:
            raise NotFoundError(f"{root} holds no embedding space yet")
        key = store.catalog.space(space).key if space is not None else str(current and current.key)
        files, rows = store.rows_by_part(key)
    listed = next((f for f in files if not _is_packed(f)), None)
    if listed is not None:
        raise StoreError(f"{listed.name} is of an earlier format; `index compact` writes it anew")
    return ValidRows(tuple(files), rows, wanted)


def vectors_of_bytes(values: Sequence[bytes] | pa.Array) -> NDArray[np.float16]:
    """Return values of the column `embedding` as vectors `[n, dimension]`."""
    held = values.to_pylist() if isinstance(values, (pa.Array, pa.ChunkedArray)) else list(values)
    vectors: NDArray[np.float16] = np.frombuffer(b"".join(held), "<f2")
    return vectors.reshape(len(held), -1) if held else vectors.reshape(0, 0)


def read_daft(
    root: str | Path, space: str | None = None, columns: Sequence[str] | None = None
) -> Any:
    """Return a Daft data frame of a store's frames; daft must be installed."""
    import daft

    found = valid_rows(root, space, columns)
    rows = daft.from_arrow(found.rows)
    if "embedding" in found.columns:
        parts = daft.read_parquet([str(path) for path in found.files], file_path_column="file")
        number = daft.col("file").regexp_extract(_NUMBER, 1).cast(daft.DataType.int64())
        parts = parts.with_column("part_id", number).select("part_id", *_READ)
        rows = rows.join(parts, on=list(_KEYS))
    return rows.select(*found.columns)


def read_spark(
    spark: Any, root: str | Path, space: str | None = None, columns: Sequence[str] | None = None
) -> Any:
    """Return a Spark data frame of a store's frames; all nodes must see the folder."""
    from pyspark.sql import functions

    found = valid_rows(root, space, columns)
    rows = spark.createDataFrame(found.rows.to_pandas())
    if "embedding" in found.columns:
        parts = spark.read.parquet(*(f"file://{path.resolve()}" for path in found.files))
        number = functions.regexp_extract(functions.input_file_name(), _NUMBER, 1).cast("long")
        parts = parts.withColumn("part_id", number).select("part_id", *_READ)
        rows = rows.join(parts, on=list(_KEYS))
    return rows.select(*found.columns)


def read_ray(
    root: str | Path, space: str | None = None, columns: Sequence[str] | None = None
) -> Any:
    """Return a Ray dataset of a store's frames; all nodes must see the folder."""
    import ray

    found = valid_rows(root, space, columns)
    if "embedding" not in found.columns:
        return ray.data.from_arrow(found.rows.select(list(found.columns)))
    parts = ray.data.read_parquet(
        [str(path) for path in found.files], columns=list(_READ), include_paths=True
    )
    return parts.map_batches(
        valid_of_batch,
        fn_args=(found.rows, found.columns),
        batch_format="pyarrow",
        zero_copy_batch=True,
    )


def valid_of_batch(batch: pa.Table, rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Return the valid rows of a batch of files' rows, whose `path` says which file each is of."""
    numbers = [int(Path(path).stem) for path in batch.column("path").to_pylist()]
    batch = batch.append_column("part_id", pa.array(numbers, pa.int64()))
    return batch.join(rows, list(_KEYS), join_type="inner").select(list(columns))


def _is_packed(path: Path) -> bool:
    kind = pq.read_schema(path).field("embedding").type
    return bool(pa.types.is_fixed_size_binary(kind))
