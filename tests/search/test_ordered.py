"""Pages of equal rows: each row once, in one order."""

from collections.abc import Iterator

import numpy as np
import pytest

from engine.cage.sandbox import Sandbox
from engine.query import query
from engine.search.ordered import best_in_order
from engine.search.reading import Reading
from engine.sql import run_sql
from engine.storage.sampling import Sampling
from engine.storage.store import Rows
from engine.video.container import VideoInfo
from engine.video.gop import Gop
from tests.asking import Videos, hash_vector

SHOWN = 5  # pictures that all frames of the further videos show


@pytest.fixture(scope="module")
def repeating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Videos]:
    """Six more videos, whose frames show a few pictures again and again."""
    videos = Videos(tmp_path_factory.mktemp("repeating") / "data")
    draw = np.random.default_rng(4)
    shown = [hash_vector(f"{n}".encode()) * 0.8 + hash_vector(b"a dog") for n in range(SHOWN)]
    shown = [vector / np.linalg.norm(vector) for vector in shown]
    for number in range(4, 10):
        path, numbers = f"/videos/v{number}.mp4", np.arange(40, dtype=np.int32)
        info = VideoInfo(path, "h264", 64, 48, 0, 25.0, 20.0, 0.0, 500, number, "yuv420p", False)
        video = videos.store.catalog.add_video(info, f"{number:064x}", f"v{number}.mp4")
        gops = [Gop(index, 2.0 * index, 2.0 * index + 2, 50, index) for index in range(10)]
        videos.store.catalog.add_gops(video, gops)
        vectors = np.stack([shown[at] for at in draw.integers(SHOWN, size=40)]).astype(np.float32)
        none = np.zeros(40, np.float32)
        rows = Rows(numbers, numbers / 2, ["I"] * 40, vectors, none, none, np.ones(40, bool))
        key = (video, videos.space.key, Sampling(2), "dense")
        videos.store.write_part(*key, 0, 0.0, 20.0, rows)
        videos.store.finish_segment(*key, 40)
    with videos.store:
        yield videos


@pytest.mark.parametrize("where", ["", " WHERE f.seconds < 9 AND f.video_id > 3"])
def test_each_row_is_on_one_page(where: str, repeating: Videos, sandbox: Sandbox) -> None:
    score = "CLIP_MATCH(f.frame, 'a dog')"
    sql = f"SELECT f.video_id AS v, f.frame, {score} AS s FROM frames f{where} ORDER BY s DESC"
    seen: list[tuple[int, int]] = []
    while True:
        page = f"{sql} LIMIT 41 OFFSET {len(seen)}"
        rows = run_sql(repeating.context(sandbox), page, max_rows=1000).table.to_pylist()
        seen += [(row["v"], row["frame"]) for row in rows]
        if len(rows) < 41:
            break
    count = sql.replace(f"f.video_id AS v, f.frame, {score} AS s", "count(*) AS n")
    count = count.removesuffix(" ORDER BY s DESC")
    [whole] = run_sql(repeating.context(sandbox), count, max_rows=9).table.to_pylist()
    assert len(seen) == len(set(seen)) == whole["n"]


@pytest.mark.parametrize("group", ["frame", "moment", "video"])
def test_a_longer_answer_begins_as_a_shorter(
    group: str, repeating: Videos, sandbox: Sandbox
) -> None:
    def found(count: int) -> list[tuple[int, float, float]]:
        context = repeating.context(sandbox)
        result = query(context, "a dog", top_k=count, group_by=group, near_duplicate=1.0)  # type: ignore[arg-type]
        return [(m.video_id, m.start_seconds, m.stop_seconds) for m in result.moments]

    longest = found(40)
    for count in (1, 3, 5, 13, 20):
        assert found(count) == longest[:count]


def test_of_equal_rows_the_first_are_told(repeating: Videos) -> None:
    rows, line = Reading(repeating.store, repeating.space.key).rows, hash_vector(b"a dog")
    scores = rows.scores(line)
    order = np.lexsort((rows.frames.row_ids, -scores))
    for count in (0, 1, 7, 30, 100, 235, len(order), len(order) + 9):
        found = best_in_order(rows, line, count)
        assert found.row_ids.tolist() == rows.frames.row_ids[order[:count]].tolist()
