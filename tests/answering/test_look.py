"""A model that sees says yes or no of pictures."""

from collections.abc import Sequence
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.answering.chat import ChatTurn, Tell, Wish, silent
from engine.answering.kept import AnswerFile, KeptModel
from engine.answering.look import ModelLooker
from engine.answering.remote import ChatServer
from engine.errors import ExecutionError, LookerError
from engine.search.inquiry import Filled, OneOf, YesNo
from tests.chat_server import Came, Reply, said, serving

DARK, BRIGHT = (np.full((24, 32, 3), value, np.uint8) for value in (10, 240))


def by_brightness(asked: Came) -> Reply:
    """What a model that sees would answer: the picture is decoded from the request."""
    assert asked.text == "Answer with one word, yes or no: is it bright?"
    (image,) = asked.pictures
    assert image.shape == (24, 32, 3)
    return said(" **Yes**, it is." if image.mean() > 128 else "no")


def says(looker: ModelLooker, images: Sequence[NDArray[np.uint8]], question: str) -> list[bool]:
    return looker.answers([([image], YesNo(question)) for image in images])


def test_pictures_are_sent_and_what_was_said_is_kept() -> None:
    with serving(by_brightness) as (url, came):
        looker = ModelLooker(KeptModel(ChatServer(url, "sees"), AnswerFile(None)))
        assert says(looker, [DARK, BRIGHT, DARK], "is it bright?") == [False, True, False]
    assert len(came) == 2
    assert says(looker, [BRIGHT], "is it bright?") == [True]  # the server has gone


class Rubbish:
    """Says nothing of use, something else each time."""

    name = "rubbish"

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)

    def reply(self, turns: Sequence[ChatTurn], wish: Wish, tell: Tell = silent) -> str:
        return self.texts.pop(0)


@pytest.mark.parametrize("text", ["I think nothing of it", "yesterday", "", "unclear"])
def test_what_is_neither_is_said_and_not_kept(text: str) -> None:
    looker = ModelLooker(KeptModel(Rubbish(text, "Yes"), AnswerFile(None)))
    with pytest.raises(ExecutionError, match=r"rubbish answered .*; expected yes or no"):
        says(looker, [DARK], "x")
    assert says(looker, [DARK], "x") == [True]


def test_some_questions_are_asked_at_a_time() -> None:
    meeting = Barrier(3, timeout=60)

    class Waiting:
        """Replies when three have asked."""

        name = "waiting"

        def reply(self, turns: Sequence[ChatTurn], wish: Wish, tell: Tell = silent) -> str:
            meeting.wait()
            return "yes"

    images = [np.full((8, 8, 3), value, np.uint8) for value in range(6)]
    assert says(ModelLooker(Waiting(), 3), images, "x") == [True] * 6


LABELS = OneOf(("a red one", "a red", "blue"), "which?")
FORM = Filled('{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}')


@pytest.mark.parametrize(
    ("inquiry", "replies", "answer"),
    [
        (LABELS, ["A red one."], "a red one"),
        (LABELS, ["a red"], "a red"),
        (LABELS, ["purple", "**blue**\nsince the sky is"], "blue"),
        (FORM, ['```json\n{"n": 3}\n```'], {"n": 3}),
        (FORM, ['{"n": "three"}', '{"n": 3, "more": null}'], {"n": 3, "more": None}),
        (LABELS, ["purple", "", "blue"], r"gave no answer: it answered ''; expected one of a red"),
        (FORM, ["no", '{"n": 1.5}'], r"gave no answer: it does not fit the schema: answer.n is no"),
    ],
)
def test_a_reply_of_no_use_is_asked_for_once_more(
    inquiry: OneOf | Filled, replies: list[str], answer: Any
) -> None:
    rubbish = Rubbish(*replies)
    looker = ModelLooker(KeptModel(rubbish, AnswerFile(None)))
    asked = [([DARK], inquiry)] * 2  # the same twice is asked once
    if isinstance(answer, str) and "gave" in answer:
        with pytest.raises(LookerError, match=answer):
            looker.answers(asked)
    else:
        assert looker.answers(asked) == [answer] * 2
        assert not rubbish.texts
