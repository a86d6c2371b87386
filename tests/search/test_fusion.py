"""Rankings by pictures and by words, joined on time."""

import random

import pytest

from engine.search.fusion import SpokenPart, fuse
from engine.search.grouping import VideoSpan
from engine.search.moments import Span


def image(video: int, start: float, stop: float) -> VideoSpan:
    return VideoSpan(video, Span(start, stop, start, 0.3, 0), 0)


def words(video: int, start: float, stop: float) -> SpokenPart:
    return SpokenPart(video, start, stop, f"{video} at {start}", 1.0)


def test_without_words_the_order_stays() -> None:
    spans = [image(1, 9, 10), image(2, 0, 1), image(1, 3, 4)]
    found = fuse(spans, [], 2, by_video=False)
    assert [(item.image, item.words) for item in found] == [(0, None), (1, None)]


def test_what_both_find_comes_first_and_the_rest_by_turns() -> None:
    spans = [image(1, 0, 1), image(1, 5, 7), image(3, 0, 1)]
    spoken = [words(2, 0, 1), words(1, 6.5, 8), words(1, 6, 6.5), words(1, 7, 8), words(3, 1, 2)]
    found = fuse(spans, spoken, 9, by_video=False)
    told = [(item.image, item.words and item.words.line) for item in found]
    assert told == [
        (1, "1 at 6.5"), (0, None), (None, "2 at 0"), (2, None), (None, "1 at 7"), (None, "3 at 1"),
    ]  # fmt: skip
    of_videos = fuse(spans[1:], spoken[:1] + spoken[4:], 9, by_video=True)
    assert [(item.image, item.words and item.words.video_id) for item in of_videos] == [
        (1, 3), (0, None), (None, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_ranks_are_those_of_the_definition(seed: int) -> None:
    """Reciprocal rank fusion, written down once more over keys that cannot overlap by chance."""
    draw = random.Random(seed)
    keys = [(video, at) for video in range(3) for at in range(8)]
    pictures, said = (draw.sample(keys, draw.randint(0, 20)) for _ in range(2))
    found = fuse(
        [image(video, at, at + 1) for video, at in pictures],
        [words(video, at + 0.25, at + 0.5) for video, at in said],
        99,
        by_video=False,
    )
    score = {
        key: sum(1 / (61 + ranking.index(key)) for ranking in (pictures, said) if key in ranking)
        for key in {*pictures, *said}
    }
    got = {}
    for item in found:
        start = item.words.start_seconds - 0.25 if item.words else 0.0
        key = pictures[item.image] if item.image is not None else (item.words.video_id, start)
        got[key] = item.score
        assert (item.image is not None, item.words is not None) == (key in pictures, key in said)
    assert got == pytest.approx(score)
    assert list(got.values()) == sorted(got.values(), reverse=True)
