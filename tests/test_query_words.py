"""Queries find what is shown and what is said, and say which."""

from typing import Any

import pytest

from engine.cage.sandbox import Sandbox
from engine.errors import UsageError
from engine.query import QueryResult, query
from tests.asking import Videos, hash_vector
from tests.test_text_match import say


def ask(videos: Videos, sandbox: Sandbox, text: str = "a dog", **given: Any) -> QueryResult:
    return query(videos.context(sandbox), text, **given)


@pytest.fixture
def said(videos: Videos) -> Videos:
    say(videos, 1, "a.srt", [(0.0, 1.0, "good morning"), (5.2, 7.0, "look, a dog!")])
    say(videos, 1, "b.vtt", [(5.0, 7.0, "schau, dog")])
    others = [(at, at + 1.0, f"a word, a line, {at}") for at in (9.0, 10.0, 11.0, 12.0, 13.0)]
    say(videos, 1, "c.srt", others)
    say(videos, 2, "a.srt", [(14.0, 15.5, "no dog <b>here</b>"), (16.0, 17.0, "a cat")])
    return videos


def test_what_is_shown_and_said_comes_first(said: Videos, sandbox: Sandbox) -> None:
    before = ask(said, sandbox, signals=["image"])
    assert {moment.signals for moment in before.moments} == {("image",)}
    found = ask(said, sandbox)
    first = found.moments[0]
    assert (first.video_id, first.signals) == (1, ("image", "words"))
    assert first.line in ("look, a dog!", "schau, dog")
    assert 5.0 <= first.start_seconds < first.stop_seconds <= 8.0
    [alone] = [moment for moment in found.moments if moment.signals == ("words",)]
    assert (alone.name, alone.start_seconds, alone.stop_seconds) == ("v2.mp4", 14.0, 15.5)
    assert (alone.line, alone.clear) == ("no dog <b>here</b>", None)
    scores = {n / 2: float(said.vector(2, n) @ hash_vector(b"a dog")) for n in range(28, 31)}
    assert alone.score == pytest.approx(max(scores.values()), abs=2e-3)
    assert alone.peak_seconds == max(scores, key=lambda at: scores[at])
    assert "joined with 2 parts where the words are said" in found.plan


def test_a_line_needs_half_of_what_the_words_weigh(said: Videos, sandbox: Sandbox) -> None:
    found = ask(said, sandbox, "a zebra and giraffes at night", signals=["words"])
    assert found.moments == []  # `a` alone is in two lines


def test_words_alone_ask_no_model(said: Videos, sandbox: Sandbox) -> None:
    context = said.context(sandbox)
    context.encoder = None  # type: ignore[assignment]
    said.asked.clear()
    found = query(context, "dog", signals=["words"], videos=["v2*"])
    assert [(m.name, m.line, m.score) for m in found.moments] == [
        ("v2.mp4", "no dog <b>here</b>", 0.0)
    ]
    assert said.asked == []
    assert found.coverage.complete


def test_videos_are_found_by_their_best_line(said: Videos, sandbox: Sandbox) -> None:
    found = ask(said, sandbox, "cat", group_by="video", signals=["words"]).moments
    assert [(moment.video_id, moment.line) for moment in found] == [(2, "a cat")]
    both = ask(said, sandbox, "a cat", group_by="video").moments
    assert len({moment.video_id for moment in both}) == len(both) == 3
    assert both[0].signals == ("image", "words")


def test_without_transcripts_nothing_changes(videos: Videos, sandbox: Sandbox) -> None:
    one, other = ask(videos, sandbox), ask(videos, sandbox, signals=["image"])
    assert (one.moments, one.plan) == (other.moments, other.plan)
    assert {moment.line for moment in one.moments} == {None}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"signals": ["smell"]}, "unknown signal 'smell'"),
        ({"signals": []}, "no signal is given; allowed: image, words"),
        ({"signals": ["words"], "group_by": "frame"}, "got group_by frame"),
        ({"signals": ["words"], "text": hash_vector(b"x")}, "got a picture or a mix"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    videos: Videos, sandbox: Sandbox, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        ask(videos, sandbox, **given)
