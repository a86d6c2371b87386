"""Parts on the disk: rows that share vectors take little room, and every row has its own."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.storage.embeddings import Rows, to_table, vectors_of
from engine.storage.parts import FORMAT, Footer, parse_part, rows_digest, write_part

COUNT, WIDTH = 1200, 512


def rows_of(run: int) -> Rows:
    """Rows that take the vector of the first of every `run`, as carried ones do."""
    vectors = np.random.default_rng(run).standard_normal((COUNT, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    at = np.arange(COUNT)
    return Rows(
        at.astype(np.int32), at / 2, ["P"] * COUNT, vectors[at // run * run],
        np.zeros(COUNT, np.float32), np.zeros(COUNT, np.float32), at % run == 0,
        carried=at % run > 0,
    )  # fmt: skip


@pytest.mark.parametrize("run", [1, 2, 12])
def test_vectors_that_rows_share_are_written_once(tmp_path, run) -> None:
    table = to_table(rows_of(run), 1, "dense")
    footer = Footer(FORMAT, 1, "stretch", {}, (), rows_digest(table))
    ours, plain = tmp_path / "ours.parquet", tmp_path / "plain.parquet"
    write_part(table, lambda: footer, ours)
    pq.write_table(table, plain, use_dictionary=False)
    known, read = parse_part(ours)
    assert known == footer
    assert read.equals(pq.read_table(plain))  # whole rows, also for any other reader
    assert pq.read_table(ours).equals(read)
    assert np.array_equal(vectors_of(read), vectors_of(table))
    vectors = COUNT // run * WIDTH * 2
    assert vectors < ours.stat().st_size < vectors + 40_000
