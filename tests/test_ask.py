"""Questions: which videos are asked, what comes back."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.answering.patch_reader import PatchReader
from engine.ask import ask as answered
from engine.asking.asked import AskedQuestion
from engine.asking.builtin import BuiltinSteps, Heads
from engine.cage.sandbox import Sandbox
from engine.errors import NotFoundError, UsageError
from engine.operators.base import Context
from engine.results import NOT_SHOWN, Answer, Outlook, Spending, Step, unfollowed
from tests.asking import HashEncoder, Videos

NONE = Heads()


def ask(
    context: Context,
    question: str,
    choices: Sequence[str] | None = None,
    videos: Sequence[int | str] | None = None,
    heads: Heads = NONE,
    follow: Callable[[Step], None] = unfollowed,
) -> Answer:
    """Answer by what was trained, or by similarity."""
    steps = BuiltinSteps(AskedQuestion.of(question, choices, videos), heads)
    return answered(context, steps, follow)


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


def test_an_answer_says_why_nothing_was_looked_at(shared_videos: Videos, sandbox: Sandbox) -> None:
    context, heads = shared_videos.context(sandbox), Heads(patch_reader=cast(PatchReader, object()))
    assert context.redecode is None
    steps: list[Step] = []
    found = ask(context, "what?", ["x", "y"], heads=heads, follow=steps.append)
    assert found.how == "similarity; nothing decodes frames here, so nothing was looked at"
    outlook, claim = steps
    assert isinstance(outlook, Outlook)
    assert (outlook.looker, outlook.cost) == ("builtin", Spending(0, 0))
    assert found.claims == [claim]
    assert (found.claims[0].verdict, found.claims[0].score) == ("unverified", None)
    assert found.claims[0].text == f"what {found.text}"


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
    with pytest.raises(UsageError, match="choices are a list of texts, got one: 'red'"):
        ask(context, "what?", "red")
    with pytest.raises(UsageError, match="a choice is empty"):
        ask(context, "what?", ["x", " "])
    with pytest.raises(UsageError, match="needs not be given: it is always weighed"):
        ask(context, "what?", ["x", NOT_SHOWN])
    with pytest.raises(UsageError, match="the choice 'x' is given twice"):
        ask(context, "what?", ["x", "y", "x"])
    for number in (1, 2, 3):
        videos.store.catalog.remove_video(number)
    with pytest.raises(NotFoundError, match="ingest a video first"):
        ask(context, "what?")


def test_what_the_choices_say_finds_the_video(videos: Videos, sandbox: Sandbox) -> None:
    shown = videos.vector(2, 30)  # a frame of the second video that shows nothing known

    class Told(HashEncoder):
        """Knows what `striped` looks like."""

        def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
            known = super().embed_texts(texts)
            known[["striped" in text for text in texts]] = shown
            return known

    context = replace(videos.context(sandbox), encoder=Told())
    found = ask(context, "what pattern does it have?", ["striped", "very striped"])
    assert found.evidence[0].name == "v2.mp4"
