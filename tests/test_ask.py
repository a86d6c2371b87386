"""Questions: which videos are asked, what comes back."""

import pytest

from engine.ask import ask
from engine.errors import NotFoundError, UsageError
from engine.operators.sandbox import Sandbox
from tests.asking import Videos


def test_an_answer_has_scores_and_evidence(shared_videos: Videos, sandbox: Sandbox) -> None:
    found = ask(shared_videos.context(sandbox), "what is shown?", ["a dog", "a cat"])
    assert found.text in ("a dog", "a cat")
    assert found.choice == ["a dog", "a cat"].index(found.text)
    assert set(found.scores) == {"a dog", "a cat"}
    assert sum(found.scores.values()) == pytest.approx(1)
    assert found.confidence == found.scores[found.text]
    assert found.how == "similarity"
    for moment in found.evidence:
        assert 0 <= moment.start_seconds <= moment.peak_seconds < moment.stop_seconds <= 20


def test_one_video_alone_is_asked(shared_videos: Videos, sandbox: Sandbox) -> None:
    found = ask(shared_videos.context(sandbox), "what?", ["x", "y"], videos=["v2.mp4"])
    assert [moment.name for moment in found.evidence] == ["v2.mp4"]


def test_without_choices_common_answers_are_compared(
    shared_videos: Videos, sandbox: Sandbox
) -> None:
    found = ask(shared_videos.context(sandbox), "what colour is the dog?")
    assert found.choice is None
    assert found.text in found.scores


def test_what_cannot_be_asked(videos: Videos, sandbox: Sandbox) -> None:
    context = videos.context(sandbox)
    with pytest.raises(UsageError, match="the question is empty"):
        ask(context, " ")
    with pytest.raises(UsageError, match="1 choice; allowed: none, or two and more"):
        ask(context, "what?", ["x"])
    for number in (1, 2, 3):
        videos.store.catalog.remove_video(number)
    with pytest.raises(NotFoundError, match="ingest a video first"):
        ask(context, "what?")
