"""Frames as other engines read them: what the store holds to be valid, and nothing superseded."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import UsageError
from engine.readers import COLUMNS, read_daft, valid_of_batch, valid_rows, vectors_of_bytes
from engine.storage.store import Store
from tests.asking import Videos


@pytest.fixture
def superseded(tmp_path: Path) -> tuple[Path, pa.Table]:
    """A store with an overlay, a video that is gone, and its rows as the store itself has them."""
    root = tmp_path / "store"
    made = Videos(root)
    store, key = made.store, made.space.key
    vectors = np.stack([made.vector(9, number) for number in (3, 4, 11)])
    store.supersede(key, 1, np.array([3, 4, 11], np.int32), vectors)
    store.catalog.remove_video(2)
    store.close()
    with Store.read(root) as reader:
        view = reader.view(key)
        assert view.rows is not None
        ids = view.frames.row_ids
        table = view.frames.table(["video_id", "frame", "seconds", "strategy"])
        return root, table.append_column(
            "vector", pa.array(list(view.rows.vectors(ids).astype(np.float16).tolist()))
        )


def same(found: pa.Table, expected: pa.Table) -> bool:
    """Whether rows are those expected, in any order, with equal vectors."""
    ours = sorted(
        zip(
            *(found.column(n).to_pylist() for n in ("video_id", "frame", "seconds", "strategy")),
            vectors_of_bytes(found.column("embedding")).tolist(),
            strict=True,
        )
    )
    return ours == sorted(zip(*(column.to_pylist() for column in expected.columns), strict=True))


def stock(root: Path) -> pa.Table:
    """The same join by pyarrow alone."""
    found = valid_rows(root)
    tables = [
        pq.read_table(path, columns=["video_id", "frame", "exact", "embedding"]).append_column(
            "part_id", pa.array([int(path.stem)] * pq.read_metadata(path).num_rows, pa.int64())
        )
        for path in found.files
    ]
    held = sum(len(table) for table in tables)
    assert held > found.rows.num_rows  # some of what the files hold was superseded
    keys = ["part_id", "video_id", "frame", "exact"]
    plain = [table.replace_schema_metadata(None) for table in tables]
    return pa.concat_tables(plain, promote_options="permissive").join(
        found.rows, keys, join_type="inner"
    )


def test_the_join_gives_what_the_store_has(superseded: tuple[Path, pa.Table]) -> None:
    root, expected = superseded
    assert expected.num_rows > 0
    assert same(stock(root), expected)
    with pytest.raises(UsageError, match="unknown column 'vector'; allowed"):
        valid_rows(root, columns=["vector"])


@pytest.mark.skipif(find_spec("daft") is None, reason="daft is not installed")
def test_daft_reads_it(superseded: tuple[Path, pa.Table]) -> None:
    root, expected = superseded
    frame: Any = read_daft(root)
    assert tuple(frame.column_names) == COLUMNS
    assert same(frame.to_arrow(), expected)
    assert read_daft(root, columns=["name"]).distinct().count_rows() == 2


def test_the_batches_that_ray_gives_are_joined(superseded: tuple[Path, pa.Table]) -> None:
    """As its workers do it; no cluster is started."""
    root, expected = superseded
    found = valid_rows(root)
    joined = []
    for path in found.files:
        names = ["video_id", "frame", "exact", "embedding"]
        rows = pq.read_table(path, columns=names).replace_schema_metadata(None)
        for batch in (rows.slice(0, 7), rows.slice(7)):
            told = batch.append_column("path", pa.array([str(path)] * len(batch), pa.string()))
            joined.append(valid_of_batch(told, found.rows, COLUMNS))
    assert joined[0].column_names == list(COLUMNS)
    assert same(pa.concat_tables(joined), expected)
