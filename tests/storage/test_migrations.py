"""A store of each earlier format, as the code of its day wrote it, opens with all that it had."""

import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.errors import StoreError
from engine.storage.database import Database
from engine.storage.repair import repair
from engine.storage.sampling import Sampling
from engine.storage.store import Store

FIXTURES = Path(__file__).parent / "fixtures"
TINY, OTHER = "tiny-3533f36f5987", "other-6f59be5bfe68"


@pytest.fixture
def former(tmp_path: Path) -> Path:
    """Format 1: four videos in two spaces, hidden rows, an overlay, a compacted part, an index."""
    with tarfile.open(FIXTURES / "store-v1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "store"


def check(store: Store) -> None:
    expected = pq.read_table(FIXTURES / "store-v1-rows.parquet")
    assert store.rows(TINY, columns=expected.schema.names).equals(expected)
    states = {found.name: found.state for found in store.completeness(TINY)}
    assert states == {
        "a": "complete",
        "b": "complete",
        "c": "partial",
        "d": "registered",
        "broken": "quarantined",
    }
    assert store.catalog.video("a again").path == "/a.mp4"
    assert store.catalog.calibration(TINY, "rates") == {"decode": 0.1, "encode": 0.2}
    assert store.catalog.calibration(TINY, "null") == {"rows": 40, "middle": 0.1}
    assert [job.status for job in store.catalog.jobs()] == ["ready"]
    assert {problem.kind for problem in store.verify()} == {"incomplete"}


def test_format_1(former: Path) -> None:
    parts = {path: path.read_bytes() for path in former.rglob("*.parquet")}
    with Store.open(former) as store:
        check(store)
        assert store.index_status()[0].num_tombstones == 0
        store.load_index(OTHER)
        assert len(store.rows(OTHER, columns=["row_id", "embedding"])) == 10
        assert store.committed_stretches(2, TINY, Sampling(4), "dense") == {0}
    assert {path: path.read_bytes() for path in parts} == parts
    assert (former / "catalog.duckdb.former").exists()
    with Store.open(former) as store:
        check(store)


def test_format_2(tmp_path: Path) -> None:
    """As format 1, opened by the code of format 2, and one video more."""
    with tarfile.open(FIXTURES / "store-v2.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    expected = pq.read_table(FIXTURES / "store-v2-rows.parquet")
    with Store.open(tmp_path / "store") as store:
        assert store.rows(TINY, columns=expected.schema.names).equals(expected)
        video = store.catalog.video("2026/e.mp4")
        assert (video.recorded_at, video.recorded_from, video.columns) == (None, None, {})
        store.catalog.set_values([video.video_id], {"camera": "north"})
        assert {problem.kind for problem in store.verify()} == {"incomplete"}  # as before
    assert (tmp_path / "store" / "catalog.duckdb.former").exists()
    with Store.open(tmp_path / "store") as store:
        assert store.catalog.video("2026/e.mp4").columns == {"camera": "north"}


def test_format_3(tmp_path: Path) -> None:
    """As format 2, opened by the code of format 3, with a column of a user's."""
    with tarfile.open(FIXTURES / "store-v3.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    expected = pq.read_table(FIXTURES / "store-v2-rows.parquet")
    with Store.open(tmp_path / "store") as store:
        assert store.rows(TINY, columns=expected.schema.names).equals(expected)
        assert store.catalog.video("2026/e.mp4").columns == {"camera": "north"}
        assert store.transcripts.listed() == []
        assert {problem.kind for problem in store.verify()} == {"incomplete"}
    assert (tmp_path / "store" / "catalog.duckdb.former").exists()


def test_compaction_gives_the_parts_of_format_1_a_footer(former: Path) -> None:
    with Store.open(former) as store:
        store.compact()
        store.finish_segment(2, TINY, Sampling(4), "dense", 20)
        store.compact()
        rows = store.rows(TINY, columns=["row_id", "embedding"])
    (former / "catalog.duckdb").unlink()
    assert not repair(former).set_aside
    with Store.open(former) as store:
        again = store.rows(TINY, columns=["row_id", "embedding"])
        assert np.array_equal(again.column("row_id"), rows.column("row_id"))
        assert again.equals(rows)


def test_a_damaged_part_of_format_1_counts_as_not_embedded(former: Path) -> None:
    damaged = former / "parts" / "1" / "1" / "0000000007.parquet"  # `a`, compacted
    content = damaged.read_bytes()
    damaged.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    with Store.open(former) as store:
        store.build_index(TINY)
        states = {found.name: found.state for found in store.completeness(TINY)}
        assert (states["a"], states["b"]) == ("partial", "complete")
        assert store.committed_stretches(1, TINY, Sampling(2), "reusevit") == set()
        assert len(store.rows(TINY, [2])) == 20


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    database = Database(tmp_path / "catalog.duckdb")
    with database.transaction() as cursor:
        cursor.execute("UPDATE settings SET value = '99' WHERE name = 'schema'")
    database.close()
    with pytest.raises(StoreError, match="has layout 99; allowed: 4"):
        Database(tmp_path / "catalog.duckdb")
    with pytest.raises(StoreError, match="has layout 99; allowed: 4"):
        repair(tmp_path)
    names = ["catalog.duckdb", "catalog.duckdb.committed", "lock"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
