"""A statement embeds the GOPs that its answer needs, and hardly any other."""

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from engine.cage.sandbox import Sandbox
from engine.operators.base import Context
from engine.search.context import Background, Range
from engine.search.options import Options
from engine.search.reading import Reading
from engine.search.work import Embedded
from engine.sql import run_sql
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.video.container import VideoInfo
from engine.video.gop import Gop
from engine.vision.backbone.space import Space
from tests.asking import HashEncoder, hash_vector

SPACE = Space("hash", "hash", "local", "0" * 64, "{}", 32)
SCORE = "CLIP_MATCH(f.frame, 'a dog')"
WHERE = f"SELECT f.frame FROM frames f WHERE {SCORE} > -2 AND"

SHAPES = {  # with the GOPs that are needed, of 250: five videos of 50 GOPs of 2 s
    f"{WHERE} f.seconds = 13": 5,
    f"{WHERE} f.seconds IN (1, 13)": 10,
    f"{WHERE} f.seconds < 5 OR {SCORE} > -2 AND f.seconds > 95": 30,
    f"{WHERE} (f.seconds < 5 OR f.seconds > 95)": 30,
    f"{WHERE} f.seconds BETWEEN 13 AND 15 AND f.video_id = 2": 2,
    f"{WHERE} (f.video_id = 1 AND f.seconds < 4 OR f.video_id = 2 AND f.seconds >= 98)": 3,
    f"SELECT f.frame FROM frames f JOIN gops g ON f.video_id = g.video_id"
    f" AND f.seconds >= g.start_seconds AND f.seconds < g.stop_seconds"
    f" WHERE g.gop = 3 AND {SCORE} > -2": 5,
    f"SELECT * FROM (SELECT f.video_id, f.seconds, {SCORE} AS s FROM frames f)"
    " WHERE seconds < 4 AND video_id IN (1, 3)": 4,
    f"WITH c AS (SELECT f.* FROM frames f), d AS (SELECT frame, {SCORE.replace('f.', '')} AS s,"
    " video_id AS v FROM c WHERE seconds < 10) SELECT * FROM d WHERE v = 4": 5,
    f"SELECT v.name, {SCORE} AS s FROM videos v LEFT JOIN frames f ON f.video_id = v.video_id"
    " AND f.seconds < 6 WHERE v.name = 'v2.mp4'": 3,
    f"SELECT f.frame, {SCORE} AS s FROM frames f LEFT JOIN videos v ON f.video_id = v.video_id"
    " WHERE v.name = 'v2.mp4' AND f.seconds >= 96": 2,
    f"SELECT f.frame FROM frames f JOIN videos v USING (video_id) WHERE v.name IN ('v1.mp4',"
    f" 'v5.mp4') AND f.seconds < 2 ORDER BY {SCORE} DESC LIMIT 3": 2,
    f"SELECT v.name, t.s FROM videos v, LATERAL (SELECT {SCORE} AS s FROM frames f WHERE"
    " f.video_id = v.video_id AND f.seconds < 2 ORDER BY s DESC LIMIT 1) t WHERE v.video_id < 3": 2,
    f"SELECT f.frame FROM frames f WHERE {SCORE} > -2 AND f.seconds < 2 AND EXISTS (SELECT 1 FROM"
    " videos v WHERE v.video_id = f.video_id AND v.name = 'v3.mp4')": 1,
    # videos 1 to 3 were recorded from 8:00 on, half an hour later each; of the others it is unknown
    f"{WHERE} f.at BETWEEN '2026-03-01 08:00' AND '2026-03-01 08:00:20'": 11,
    f"{WHERE} f.at >= '2026-03-01 08:30:50' AND f.at < '2026-03-01 09:00:10'": 30,
    f"{WHERE} '2026-03-01 08:00:04' > f.at": 2,
    f"{WHERE} f.at = TIMESTAMP '2026-03-01 09:00:10'": 1,
    f"{WHERE} f.at IN ('2026-03-01 08:00:13', '2026-03-01 09:00:13')": 2,
    f"{WHERE} (f.at > '2026-03-01 09:01:30' OR f.seconds < 1)": 10,
    f"{WHERE} f.at::DATE = '2026-03-01' AND f.seconds < 2": 3,
    f"{WHERE} f.at::DATE > DATE '2026-03-01'": 0,
    f"{WHERE} date_trunc('day', f.at) = '2026-03-01' AND f.seconds < 2": 3,
    f"{WHERE} date_trunc('hour', f.at) = TIMESTAMP '2026-03-01 09:00:00'": 50,
    f"{WHERE} date_trunc('minute', f.at) = '2026-03-01 08:31'": 20,
    f"{WHERE} date_trunc('minute', f.at) < '2026-03-01 08:01' AND f.at IS NOT NULL": 30,
    f"{WHERE} date_trunc('month', f.at) IN ('2026-02-01', '2026-04-01')": 0,
    f"{WHERE} date_trunc('year', f.at) BETWEEN '2025-01-01' AND '2025-12-31'": 0,
    f"{WHERE} hour(f.at) = 9": 50,
    f"{WHERE} extract(minute FROM f.at) IN (1, 31)": 60,
    f"{WHERE} year(f.at) = 2026 AND month(f.at) = 3 AND day(f.at) = 1 AND f.seconds < 2": 3,
    f"{WHERE} isodow(f.at) <> 7": 0,
    f"{WHERE} f.at >= '2026-03-01T09:01:30Z'::TIMESTAMPTZ": 5,
    f"SELECT v.name FROM frames f JOIN videos v USING (video_id) WHERE f.at < '2026-03-02'"
    f" AND v.name IN ('v2.mp4', 'v4.mp4') AND f.seconds < 6 AND {SCORE} > -2": 3,
    f"SELECT * FROM (SELECT f.at AS t, f.video_id AS v, {SCORE} AS s FROM frames f) d JOIN gops g"
    " ON d.v = g.video_id WHERE t BETWEEN '2026-03-01 08:30' AND '2026-03-01 08:30:03'": 2,
}


class Film:
    """Five videos that nobody has embedded; what is asked for is noted, and stored if wanted."""

    def __init__(self, root: Path) -> None:
        self.store = Store.open(root)
        self.store.catalog.add_space(SPACE)
        self.gops: list[tuple[int, int]] = []
        self.keeps = False
        for number in range(1, 6):
            info = VideoInfo(
                f"/v{number}.mp4", "h264", 64, 48, 0, 25.0, 100.0, 0.0, 2500, 1000, "yuv420p", False
            )
            video = self.store.catalog.add_video(info, f"{number:064x}", f"v{number}.mp4")
            spans = [Gop(index, 2.0 * index, 2.0 * index + 2, 50, index) for index in range(50)]
            self.store.catalog.add_gops(video, spans)
            if number <= 3:
                start = datetime(2026, 3, 1, 7, 30) + number * timedelta(minutes=30)
                self.store.catalog.set_values([video], {"recorded_at": start})

    def embed(self, missing: Sequence[Range], options: Options) -> Embedded:
        for item in missing:
            spans = range(int(item.start_seconds) // 2, int(item.stop_seconds) // 2)
            self.gops += [(item.video_id, index) for index in spans]
            if self.keeps:
                self._store(item)
        return Embedded()

    def _store(self, item: Range) -> None:
        numbers = np.arange(item.start_seconds, item.stop_seconds, dtype=np.int32)
        vectors = np.stack([hash_vector(f"{item.video_id} {n}".encode()) for n in numbers])
        zero = np.zeros(len(numbers), np.float32)
        rows = Rows(
            numbers, numbers.astype(np.float64), ["P"] * len(numbers), vectors, zero, zero,
            np.ones(len(numbers), bool),
        )  # fmt: skip
        key = (item.video_id, SPACE.key, Sampling(1), "dense")
        span = (item.start_seconds, item.stop_seconds)
        self.store.write_part(*key, int(item.start_seconds), *span, rows)


@pytest.fixture
def film(tmp_path: Path) -> Iterator[Film]:
    made = Film(tmp_path / "data")
    with made.store:
        yield made


@pytest.fixture(scope="module")
def shared_film(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Film]:
    made = Film(tmp_path_factory.mktemp("film") / "data")
    with made.store:
        yield made


def run(film: Film, sandbox: Sandbox, sql: str) -> int:
    """Run a statement; return how many rows it has."""
    film.gops.clear()
    context = Context(
        reading=Reading(film.store, SPACE.key),
        encoder=HashEncoder(),
        sandbox=sandbox,
        background=lambda: Background(()),
        embed=film.embed,
        respond=lambda *_: None,
        options=Options(fps=1.0),
    )
    return run_sql(context, sql, max_rows=10_000).table.num_rows


@pytest.mark.parametrize("sql", SHAPES)
def test_only_what_is_needed_is_embedded(sql: str, shared_film: Film, sandbox: Sandbox) -> None:
    run(shared_film, sandbox, sql)
    assert SHAPES[sql] <= len(set(shared_film.gops)) <= 1.1 * SHAPES[sql]


PARTS = {  # of an instant, with values that they have about then
    "hour(f.at)": (22, 23, 0), "extract(minute FROM f.at)": (0, 58, 59), "second(f.at)": (0, 29),
    "day(f.at)": (1, 2), "month(f.at)": (3, 4), "year(f.at)": (2025, 2026), "isodow(f.at)": (1, 7),
    "extract(doy FROM f.at)": (60, 61), "week(f.at)": (9, 10), "quarter(f.at)": (1, 2),
}  # fmt: skip


def condition(draw: random.Random) -> str:
    """Draw a condition on when frames lie and when they were recorded."""
    kind = draw.choice(["seconds", "at", "at", "at", "day", "trunc", "trunc", "part", "part"])
    unit = draw.choice(["year", "month", "week", "day", "hour", "minute", "second"])
    part = draw.choice(list(PARTS))
    made = {"day": "f.at::DATE", "trunc": f"date_trunc('{unit}', f.at)", "part": part}
    column = made.get(kind, f"f.{kind}")
    values = [str(draw.randrange(200) / 2) for _ in range(3)]
    if kind == "part":
        values = [str(draw.choice(PARTS[part])) for _ in range(3)]
    if kind == "day":
        values = [f"DATE '2026-03-0{draw.randint(1, 3)}'" for _ in values]
    elif kind in ("at", "trunc"):
        begin = draw.choice([datetime(2026, 3, 1, 22, 59, 30), datetime(2026, 3, 1, 23, 58)])
        values = [f"'{begin + timedelta(seconds=2 * float(value))}'" for value in values]
    if kind == "trunc" and draw.random() < 0.8:
        values = [f"date_trunc('{unit}', TIMESTAMP {value})" for value in values]
    compare = draw.choice([">", ">=", "<", "<=", "=", "!="])
    return draw.choice(
        [
            f"{column} {compare} {values[0]}",
            f"{values[0]} {compare} {column}",
            f"{column} BETWEEN {values[0]} AND {values[1]}",
            f"({column}) IN ({', '.join(values)})",
            f"{column} IS NULL",
        ]
    )


def test_no_frame_that_meets_a_condition_is_left_out(film: Film, sandbox: Sandbox) -> None:
    """Against a stock DuckDB over instants a quarter of a second apart."""
    stock = duckdb.connect()
    stock.execute("CREATE TABLE f AS SELECT v AS video_id, i / 4.0 AS seconds, i // 8 AS gop, NULL"
                  "::TIMESTAMP AS at FROM range(1, 6) t(v), range(400) u(i)")  # fmt: skip
    for number in (1, 2):  # one before, one across midnight
        begin = datetime(2026, 3, 1, 23, 0) + (number - 1) * timedelta(seconds=3555.5)
        film.store.catalog.set_values([number], {"recorded_at": begin})
        stock.execute(
            'UPDATE f SET "at" = ?::TIMESTAMP + to_milliseconds((1000 * seconds)::BIGINT) WHERE'
            " video_id = ?", [begin, number],
        )  # fmt: skip
    film.store.catalog.set_values([3], {"recorded_at": None})
    draw, bounded = random.Random(5), 0
    for _ in range(40):
        parts = [condition(draw) for _ in range(draw.randint(1, 3))]
        where = "(" + draw.choice([" AND ", " OR "]).join(parts) + ")"
        run(film, sandbox, f"{WHERE} {where}")
        found = stock.execute(f"SELECT DISTINCT video_id, gop FROM f WHERE {where}").fetchall()
        assert set(found) <= set(film.gops), where
        bounded += len(set(film.gops)) < 250
    assert bounded > 15


def test_a_limit_ends_embedding(film: Film, sandbox: Sandbox) -> None:
    film.keeps = True
    sql = f"SELECT f.frame, {SCORE} AS s FROM frames f LIMIT"
    assert run(film, sandbox, f"{sql} 3") == 3
    assert len(film.gops) == 2
    assert run(film, sandbox, f"{sql} 4") == 4
    assert film.gops == []  # they are there already
    assert run(film, sandbox, f"{sql} 9") == 9
    assert len(film.gops) == 3


FEW = {  # conditions with how many GOPs give three frames that meet them, of 2 frames each
    "f.seconds >= 50": 2,
    "f.at >= '2026-03-01 08:00:51'": 2,
    "f.seconds BETWEEN 11 AND 60 AND f.video_id IN (2, 3)": 2,
    "f.picture = 'P'": 2,
    "f.frame % 4 = 1": 5,
    "f.seconds > 99.5": 5,
}


@pytest.mark.parametrize("where", FEW)
def test_a_limit_ends_embedding_whatever_a_filter_drops(
    where: str, film: Film, sandbox: Sandbox
) -> None:
    film.keeps = True
    sql = f"SELECT f.frame, {SCORE} AS s FROM frames f WHERE {where} LIMIT 3"
    rows = run(film, sandbox, sql)
    assert rows == (0 if "99.5" in where else 3)
    assert FEW[where] <= len(film.gops) <= 2 * FEW[where] + 1
    before = run(film, sandbox, sql)
    assert (before, film.gops) == (rows, [])
