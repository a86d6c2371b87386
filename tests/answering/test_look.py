"""A model that sees says yes or no of pictures."""

from collections.abc import Sequence

import numpy as np
import pytest

from engine.answering.chat import ChatTurn, Tell, Wish, silent
from engine.answering.kept import AnswerFile, KeptModel
from engine.answering.look import ModelLooker
from engine.answering.remote import ChatServer
from engine.errors import ExecutionError
from tests.chat_server import Came, Reply, said, serving

DARK, BRIGHT = (np.full((24, 32, 3), value, np.uint8) for value in (10, 240))


def by_brightness(asked: Came) -> Reply:
    """What a model that sees would answer: the picture is decoded from the request."""
    assert asked.text == "Answer with one word, yes or no: is it bright?"
    (image,) = asked.pictures
    assert image.shape == (24, 32, 3)
    return said(" **Yes**, it is." if image.mean() > 128 else "no")


def test_pictures_are_sent_and_what_was_said_is_kept() -> None:
    with serving(by_brightness) as (url, came):
        looker = ModelLooker(KeptModel(ChatServer(url, "sees"), AnswerFile(None)))
        assert looker.says([DARK, BRIGHT, DARK], "is it bright?") == [False, True, False]
    assert len(came) == 2
    assert looker.says([BRIGHT], "is it bright?") == [True]  # the server has gone


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
        looker.says([DARK], "x")
    assert looker.says([DARK], "x") == [True]
