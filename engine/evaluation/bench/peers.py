"""Others that find vectors, over the same rows: LanceDB where it is installed, and DuckDB."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import duckdb
import numpy as np
import pyarrow as pa

from engine.storage.inverted_writer import lists_for
from engine.storage.tuning import Tuning

REFINED = 20  # times as many rows as are asked for are looked at again where codes chose them

Rows = Iterable[tuple[int, np.ndarray]]  # a video's id and its vectors, float32 [n, E]


@dataclass(slots=True)
class Lance:
    """LanceDB over float16 vectors, with an index of as many lists as ours.

    IVF_FLAT, or above so many rows as ours has codes, IVF_RQ of which the best are refined.
    """

    table: Any
    write_seconds: float = 0.0
    build_seconds: float = 0.0
    kind: str = "IVF_FLAT"
    probes: dict[str, int] = field(default_factory=dict)  # by filter, for the same recall

    @classmethod
    def write(cls, folder: Path, rows: Rows) -> Self | None:
        """Write all rows, one batch a video; None where LanceDB is not installed."""
        if find_spec("lancedb") is None:
            return None
        table, seconds = None, 0.0
        for video_id, vectors in rows:
            start = perf_counter()  # both are given float32, as encoders give
            batch = _batch(video_id, vectors)
            if table is None:
                table = import_module("lancedb").connect(folder).create_table("frames", batch)
            else:
                table.add(batch)
            seconds += perf_counter() - start
        return cls(table, seconds)

    def build(self, num_rows: int) -> None:
        """Build the index."""
        self.kind = "IVF_RQ" if num_rows > Tuning().coded_rows else "IVF_FLAT"
        start = perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self.table.create_index(
                "dot",
                num_partitions=lists_for(num_rows),
                index_type=self.kind,
                num_bits=1 if self.kind == "IVF_RQ" else 8,
                wait_timeout=timedelta(hours=1),
            )
        self.build_seconds = perf_counter() - start

    @classmethod
    def open(cls, folder: Path, kind: str = "") -> Self | None:
        """Open what was written before; None where LanceDB is not installed."""
        if find_spec("lancedb") is None:
            return None
        return cls(import_module("lancedb").connect(folder).open_table("frames"), kind=kind)

    def search(self, query: np.ndarray, k: int, where: str, probes: int) -> np.ndarray:
        """Return the ids of the nearest rows that pass."""
        asked = self.table.search(query).distance_type("dot").nprobes(probes).limit(k)
        asked = asked.select(["row_id", "seconds", "_distance"])
        if self.kind == "IVF_RQ":
            asked = asked.refine_factor(REFINED)
        found = asked.where(where, prefilter=True) if where else asked
        return found.to_arrow().column("row_id").to_numpy()

    def above(self, query: np.ndarray, cutoff: float, most: int) -> int:
        """Return how many rows score above a cut-off; every row is looked at."""
        asked = self.table.search(query).distance_type("dot").bypass_vector_index()
        asked = asked.distance_range(upper_bound=1 - cutoff).limit(most)
        return int(asked.select(["row_id", "_distance"]).to_arrow().num_rows)


def tune(
    search: Callable[..., np.ndarray],
    queries: np.ndarray,
    truth: list[np.ndarray],
    recall: float,
) -> int:
    """Return the smallest number of probes that finds as much of the truth as we do."""
    for probes in (4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024):
        found = [search(query, probes=probes) for query in queries]
        shares = [len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth, strict=True)]
        if np.mean(shares) >= recall:
            break
    return probes


@dataclass(frozen=True, slots=True)
class Duck:
    """DuckDB over a table of float32 arrays: every row is looked at."""

    connection: duckdb.DuckDBPyConnection
    dimension: int

    @classmethod
    def write(cls, path: Path, rows: Rows, dimension: int, threads: int) -> Self:
        """Write all rows."""
        connection = duckdb.connect(str(path), config={"threads": threads})
        connection.execute(
            "CREATE TABLE frames (row_id BIGINT, video_id BIGINT, seconds DOUBLE,"
            f" vector FLOAT[{dimension}])"
        )
        for video_id, vectors in rows:
            connection.register("given", _batch(video_id, vectors, np.float32))
            connection.execute(
                "INSERT INTO frames SELECT row_id, row_id >> 32, seconds, vector FROM given"
            )
        return cls(connection, dimension)

    @classmethod
    def open(cls, path: Path, dimension: int, threads: int) -> Self:
        """Open what was written before."""
        return cls(duckdb.connect(str(path), config={"threads": threads}), dimension)

    def run(self, sql: str, query: np.ndarray) -> pa.Table:
        """Run a statement in which `score` is the similarity."""
        score = f"array_inner_product(vector, $1::FLOAT[{self.dimension}])"
        return self.connection.sql(
            sql.replace("score", score), params=[query.tolist()]
        ).to_arrow_table()


def _batch(
    video_id: int, vectors: np.ndarray, kind: type[np.floating[Any]] = np.float16
) -> pa.Table:
    count, dimension = vectors.shape
    flat = vectors.astype(np.float16).astype(kind).reshape(-1)
    return pa.table(
        {
            "row_id": (np.int64(video_id) << 32) + np.arange(count),
            "seconds": np.arange(count) / 2,
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat), dimension),
        }
    )
