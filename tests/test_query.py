"""Queries on a store: ranking, grouping, duplicates, selection, coverage."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from engine.cage.sandbox import Sandbox
from engine.errors import NotFoundError, UsageError
from engine.query import QueryResult, query
from engine.search.context import Background, Range
from engine.search.options import Options
from engine.search.selection import select_videos
from engine.search.work import Embedded
from engine.sql import run_sql
from tests.asking import Videos, hash_vector


def ask(made: Videos, sandbox: Sandbox, text: str = "a dog", **given: Any) -> QueryResult:
    return query(made.context(sandbox), text, **given)


def test_moments_come_best_first_with_their_times(shared_videos: Videos, sandbox: Sandbox) -> None:
    found = ask(shared_videos, sandbox, top_k=3).moments
    assert all(5.0 <= m.start_seconds < m.stop_seconds <= 8.0 for m in found)
    assert {m.name for m in found} == {"v1.mp4", "v2.mp4", "v3.mp4"}
    assert [m.score for m in found] == sorted((m.score for m in found), reverse=True)
    for moment in found:
        curve = [
            float(shared_videos.vector(moment.video_id, n) @ hash_vector(b"a dog"))
            for n in range(40)
        ]
        assert moment.peak_seconds == np.argmax(curve) / 2
        assert moment.score == pytest.approx(max(curve), abs=2e-3)


@pytest.mark.parametrize("top_k", [1, 5, 40])
def test_frames_are_ranked_exactly(shared_videos: Videos, sandbox: Sandbox, top_k: int) -> None:
    found = ask(shared_videos, sandbox, top_k=top_k, group_by="frame", near_duplicate=1.0)
    vector = hash_vector(b"a dog")
    scores = sorted(
        (float(shared_videos.vector(v, n) @ vector) for v in (1, 2, 3) for n in range(40)),
        reverse=True,
    )
    assert [m.score for m in found.moments] == pytest.approx(scores[:top_k], abs=2e-3)
    assert all(m.start_seconds == m.peak_seconds for m in found.moments)


@pytest.mark.parametrize("text", ["a dog", "a cat", "qwertyuiop zzzz", "nothing of the kind"])
@pytest.mark.parametrize("group_by", ["moment", "frame", "video"])
def test_a_clear_match_is_one_that_moments_has_too(
    shared_videos: Videos, sandbox: Sandbox, text: str, group_by: Any
) -> None:
    sql = f"SELECT * FROM moments('{text}')"
    spans = run_sql(shared_videos.context(sandbox), sql, (), {}, max_rows=1000).rows()
    found = ask(shared_videos, sandbox, text, top_k=60, group_by=group_by).moments
    for moment in found:
        assert moment.clear == any(
            span["video_id"] == moment.video_id
            and span["start_seconds"] < moment.stop_seconds
            and moment.start_seconds < span["stop_seconds"]
            for span in spans
        )
    if text in ("a dog", "a cat"):
        assert any(moment.clear for moment in found)


def test_matches_of_pictures_and_without_a_background_are_not_judged(
    videos: Videos, sandbox: Sandbox
) -> None:
    context = videos.context(sandbox)
    context.background = lambda: Background(())
    found = query(context, "a dog", top_k=3).moments
    assert [moment.clear for moment in found] == [None] * 3
    vector = hash_vector(b"a dog")
    assert [m.clear for m in query(videos.context(sandbox), vector, top_k=3).moments] == [None] * 3


def test_by_video_each_comes_once(shared_videos: Videos, sandbox: Sandbox) -> None:
    found = ask(shared_videos, sandbox, top_k=10, group_by="video").moments
    assert sorted(m.video_id for m in found) == [1, 2, 3]
    assert all(5.0 <= m.peak_seconds < 8.0 for m in found)


def test_there_are_fewer_only_where_no_more_is_left(
    shared_videos: Videos, sandbox: Sandbox
) -> None:
    found = ask(shared_videos, sandbox, top_k=500, group_by="frame", near_duplicate=1.0)
    assert len(found.moments) == 120


def test_min_score_is_the_cut_of_every_moment(shared_videos: Videos, sandbox: Sandbox) -> None:
    found = ask(shared_videos, sandbox, "a cat", min_score=0.6).moments
    assert [(m.start_seconds, m.stop_seconds) for m in found] == [(10.0, 12.0)] * 3
    assert ask(shared_videos, sandbox, "a cat", min_score=0.999).moments == []


def test_near_duplicates_are_shown_once(videos: Videos, sandbox: Sandbox) -> None:
    apart = ask(videos, sandbox, top_k=10, group_by="frame", near_duplicate=0.999)
    alike = ask(videos, sandbox, top_k=10, group_by="frame", near_duplicate=0.8)
    vector = hash_vector(b"a dog")
    assert len(apart.moments) == 10
    shown = [videos.vector(m.video_id, round(m.peak_seconds * 2)) for m in alike.moments]
    for place, one in enumerate(shown):
        assert all(one @ other < 0.8 + 2e-3 for other in shown[:place])
    assert shown[0] @ vector > 0.8


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (["v2.mp4"], {2}),
        ([3, "v1.mp4"], {1, 3}),
        (["v[12].mp4"], {1, 2}),
        (["*"], {1, 2, 3}),
        (None, {1, 2, 3}),
    ],
)
def test_videos_are_chosen_by_id_name_or_glob(
    shared_videos: Videos, sandbox: Sandbox, wanted: list[int | str] | None, ids: set[int]
) -> None:
    assert {video.video_id for video in select_videos(shared_videos.store, wanted)} == ids
    found = ask(shared_videos, sandbox, top_k=20, videos=wanted, group_by="frame")
    assert {m.video_id for m in found.moments} <= ids
    assert found.coverage.videos == len(ids)
    assert found.coverage.frames == 40 * len(ids)


def test_unknown_videos_are_named(shared_videos: Videos, sandbox: Sandbox) -> None:
    with pytest.raises(NotFoundError, match=r"no video 'v4.mp4'.*nearest"):
        ask(shared_videos, sandbox, videos=["v4.mp4"])
    with pytest.raises(NotFoundError, match=r"no stored video's name matches 'x\*'"):
        ask(shared_videos, sandbox, videos=["x*"])
    with pytest.raises(UsageError, match=r"videos is 'v1\.mp4'; allowed: a list"):
        ask(shared_videos, sandbox, videos="v1.mp4")


def test_what_is_missing_is_embedded_and_said(videos: Videos, sandbox: Sandbox) -> None:
    assert ask(videos, sandbox, videos=["v1.mp4"]).coverage.embedded == 0
    found = ask(videos, sandbox, "a cat", top_k=3)
    assert videos.asked == [Range(3, 10.0, 20.0)]
    assert found.coverage.embedded == 20
    assert 3 in {m.video_id for m in found.moments}
    assert ask(videos, sandbox, "a cat").coverage.embedded == 0


def test_a_video_that_comes_in_meanwhile_has_its_name(videos: Videos, sandbox: Sandbox) -> None:
    context, embed = videos.context(sandbox), videos.embed

    def embed_and_add(missing: Sequence[Range], options: Options) -> Embedded:
        if 4 not in [video.video_id for video in videos.store.catalog.videos()]:
            videos.add(4)
        return embed(missing, options)

    context.embed = embed_and_add
    found = query(context, "a dog", top_k=10, group_by="video")
    assert {moment.name for moment in found.moments} == {f"v{n}.mp4" for n in (1, 2, 3, 4)}
    assert found.coverage.videos == 4


def test_an_empty_store_answers_with_nothing(videos: Videos, sandbox: Sandbox) -> None:
    for number in (1, 2, 3):
        videos.store.catalog.remove_video(number)
    found = ask(videos, sandbox)
    assert found.moments == []
    assert found.coverage.frames == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"group_by": "clip"}, "unknown group_by 'clip'; allowed: frame, moment, video"),
        ({"top_k": 0}, "top_k is 0; allowed: 1 or more"),
        ({"min_score": float("nan")}, "min_score is nan; allowed: -1 to 1, as cosines are"),
        ({"text": " "}, "the text to look for is empty"),
        ({"text": b""}, "the picture to look for is empty"),
        ({"text": b"no picture"}, "cannot read the image of 10 bytes"),
    ],
)
def test_what_cannot_be_asked(
    shared_videos: Videos, sandbox: Sandbox, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        ask(shared_videos, sandbox, **given)


def test_the_story_stays_short() -> None:
    for name in ("query", "ingest"):
        module = __import__(f"engine.{name}", fromlist=["query"])
        with open(module.__file__) as file:  # noqa: PTH123
            assert len(file.readlines()) <= 120, name
