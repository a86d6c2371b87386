"""What a find asks of the catalog hangs on what it shows, not on how many videos there are."""

from pathlib import Path
from typing import Any

import pytest

from engine.search.report import MOST_LACKING
from engine.session import Engine
from engine.video.write import write_h264
from engine.world.clip import make_clip
from engine.world.render import render_frames
from tests.scale import COPIES, FIRST, fill

FRAMES = 200
TOP = "SELECT seconds, CLIP_MATCH(frame, 'a star') AS s FROM frames ORDER BY s DESC LIMIT 3"


class Counting:
    """A connection, or a cursor of one, that counts statements and the rows that they gave."""

    def __init__(self, real: Any, seen: list[int]) -> None:
        self.real, self.seen = real, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def cursor(self) -> "Counting":
        return Counting(self.real.cursor(), self.seen)

    def execute(self, *given: Any) -> "Counting":
        self.real.execute(*given)
        return self

    def sql(self, *given: Any, **named: Any) -> "Counting":
        return Counting(self.real.sql(*given, **named), self.seen)

    def fetchall(self) -> list[Any]:
        rows: list[Any] = self.real.fetchall()
        self.seen.append(len(rows))
        return rows

    def to_arrow_table(self) -> Any:
        table = self.real.to_arrow_table()
        self.seen.append(table.num_rows)
        return table


def asked(engine: Engine) -> dict[str, list[int]]:
    """Return the rows of each statement that warm work reads from the catalog."""
    work = {
        "find": lambda: engine.query("a red circle"),
        "words": lambda: engine.query("a red circle", signals=["words"]),
        "some": lambda: engine.query("a red circle", videos=[1, "00000[23].mp4"]),
        "sql": lambda: engine.sql(TOP),
        "explain": lambda: engine.explain(TOP),
        "states": lambda: engine.count_by_state(),
        "page": lambda: engine.videos(limit=24),
    }
    found, database = {}, engine.store._database
    for name, do in work.items():
        for _ in range(2):  # the first find of all measures what unrelated texts score
            do()
        real, seen = database._connection, list[int]()
        database._connection = Counting(real, seen)
        try:
            do()
        finally:
            database._connection = real
        found[name] = seen
    return found


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_h264(path, render_frames(make_clip(0, "test", duration_seconds=2), 32), 8)
    return path


def test_warm_work_reads_as_much_with_any_number_of_videos(tmp_path: Path, clip: Path) -> None:
    fill(tmp_path / "store", clip, 150, FRAMES)
    with Engine.open(tmp_path / "store", device="cpu") as engine:
        few = asked(engine)
        with engine.store._database.transaction() as cursor:
            for statement in COPIES:
                cursor.execute(statement, [151, 1501])
        assert asked(engine) == few
        assert engine.query("a red circle").coverage.videos == 1500
    assert sum(few["find"]) > MOST_LACKING  # it did count


def test_an_answer_counts_what_lacks_rows_as_the_store_changes(tmp_path: Path, clip: Path) -> None:
    fill(tmp_path / "store", clip, 150, FRAMES)
    with Engine.open(tmp_path / "store", device="cpu") as engine:
        found = engine.query("a star").coverage
        assert (found.videos, found.num_lacking, found.complete) == (150, 150 - FIRST, False)
        assert len(found.lacking) == MOST_LACKING
        assert found.lacks.endswith(f"; {150 - FIRST - 3} more")
        assert found.lacking[0] == "000011.mp4: not embedded; ingest it again"
        states = [each.state for each in engine.completeness()]
        assert engine.count_by_state() == {state: states.count(state) for state in set(states)}
        engine.remove("000011.mp4")
        engine.store.catalog.set_status(12, "registered")  # nobody asked for its rows
        engine.store.catalog.set_status(13, "quarantined", "made so")
        found = engine.query("a star").coverage
        assert (found.videos, found.num_lacking) == (149, 150 - FIRST - 3)
        assert found.lacking[0].startswith("000014.mp4")
        some = engine.query("a star", videos=[1, 13, 14, 15]).coverage
        assert (some.videos, some.num_lacking, len(some.lacking)) == (4, 2, 2)
        whole = engine.query("a star", videos=[1, 2]).coverage
        assert (whole.complete, whole.num_lacking, whole.lacking) == (True, 0, [])
