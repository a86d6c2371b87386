"""A statement sees one moment of the store; a row that is not in it has no score."""

from threading import Event, Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cage.sandbox import Sandbox
from engine.errors import NotFoundError
from engine.operators.base import Context, read_table
from engine.planner.prepare import prepare
from engine.search.scores import cosines
from engine.search.work import Embedded
from engine.storage.sampling import Sampling
from tests.asking import Videos, hash_vector


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, 2, 3, 4, 2**31 - 1]), st.integers(0, 60)), max_size=30
    )
)
@settings(max_examples=60, deadline=None)
def test_each_row_has_its_own_score_and_an_absent_one_none(
    shared_videos: Videos, sandbox: Sandbox, rows: list[tuple[int, int]]
) -> None:
    context = shared_videos.context(sandbox)
    ids = np.array([video << 32 | frame for video, frame in rows], np.int64)
    found = cosines(context, hash_vector(b"a dog"), ids)
    expected = [
        float(shared_videos.vector(video, frame).astype(np.float16) @ hash_vector(b"a dog"))
        if video in (1, 2, 3) and frame < 40
        else np.nan
        for video, frame in rows
    ]
    np.testing.assert_allclose(found, np.array(expected, float), atol=2e-3)


def test_a_moment_does_not_change(videos: Videos, sandbox: Sandbox) -> None:
    context = videos.context(sandbox)
    before = context.reading.view.frames.row_ids.copy()
    vector = hash_vector(b"a cat")
    scores = context.reading.rows.scores(vector)
    videos.store.supersede(videos.space.key, 1, np.array([0, 20]), np.stack([vector, -vector]))
    videos.store.catalog.remove_video(2)
    videos.write(3, 10.0, 20.0)
    assert context.reading.view.frames.row_ids.tolist() == before.tolist()
    assert np.array_equal(context.reading.rows.scores(vector), scores)
    now = videos.context(sandbox).reading.view.frames
    assert len(now) == 80
    with pytest.raises(NotFoundError, match="no row for frame 7 of video 2"):
        now.places(np.array([(2 << 32) + 7]))


def test_a_statement_beside_an_ingest_reads_one_moment(videos: Videos, sandbox: Sandbox) -> None:
    """Rows come and go all the time; whatever is read of them in one statement agrees."""
    done, wrong = Event(), list[object]()
    sql = (
        "SELECT (SELECT count(*) FROM frames) AS rows,"
        " (SELECT count(CLIP_MATCH(frame, 'a dog')) FROM frames) AS scored,"
        " (SELECT count(*) FROM frames JOIN videos USING (video_id)) AS joined"
    )

    def ask() -> None:
        while not done.is_set():
            context: Context = videos.context(sandbox)
            context.embed = lambda *_: Embedded(complete=False)  # an ingest does it
            statement = prepare(sql, (), {}, sandbox, false_match_rate=0.01, max_rows=10)
            (row,) = read_table(statement.operator, context).to_pylist()
            if len(set(row.values())) != 1:
                wrong.append(row)

    videos.store.finish_segment(3, videos.space.key, Sampling(2), "dense", 20)
    thread = Thread(target=ask)
    thread.start()
    try:
        for _ in range(6):
            videos.store.catalog.remove_video("v2.mp4")
            videos.add(2)
    finally:
        done.set()
        thread.join()
    assert wrong == []
