"""A model behind an OpenAI-compatible URL replies, piece by piece too, or it is said why not."""

import json

import numpy as np
import pytest

from engine.answering.chat import ChatTurn, TurnPart, Wish, as_jpeg
from engine.answering.remote import ChatServer
from engine.errors import LookerError
from tests.chat_server import Reply, said, serving, streamed

KEY = "sk-very-secret"
ASKED = [ChatTurn.of("what is it?")]


def test_turns_pictures_and_the_wish_are_sent() -> None:
    image = np.zeros((900, 1600, 3), np.uint8)
    image[:, 800:] = 250
    turns = [
        ChatTurn.of("hello"),
        ChatTurn.of("yes?", "assistant"),
        ChatTurn("user", (TurnPart("which side is bright?"), TurnPart(picture=as_jpeg(image)))),
    ]
    wish = Wish(77, {"type": "object"})
    with serving(lambda _: said("the right")) as (url, came):
        assert ChatServer(url, "sees", KEY).reply(turns, wish) == "the right"
    (asked,) = came
    assert (asked.path, asked.key) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert [turn["role"] for turn in asked.body["messages"]] == ["user", "assistant", "user"]
    assert asked.body["messages"][1]["content"] == "yes?"
    (picture,) = asked.pictures
    assert picture.shape == (432, 768, 3)
    assert picture[:, :380].mean() < 5 < 240 < picture[:, 390:].mean()
    assert (asked.body["model"], asked.body["max_tokens"]) == ("sees", 77)
    assert asked.body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert "stream" not in asked.body


def test_pieces_are_told_as_they_come() -> None:
    heard: list[str] = []
    with serving(lambda _: streamed("a ", "red ", "star")) as (url, came):
        assert ChatServer(url, "m").reply(ASKED, Wish(), heard.append) == "a red star"
    assert heard == ["a ", "red ", "star"]
    assert came[0].body["stream"] is True
    with serving(lambda _: said("all at once")) as (url, _):  # one that knows no streams
        assert ChatServer(url, "m").reply(ASKED, Wish(), heard.append) == "all at once"
    assert heard[-1] == "all at once"


def test_one_that_is_busy_is_asked_again() -> None:
    left = [429, 503, 200]

    def answer(_: object) -> Reply:
        code = left.pop(0)
        return said("Yes.") if code == 200 else Reply(b"busy", code, {"Retry-After": "0"})

    with serving(answer) as (url, came):
        assert ChatServer(url, "m").reply(ASKED, Wish()) == "Yes."
    assert [asked.key for asked in came] == [None] * 3


AT_ONCE = {"Retry-After": "0"}
WRONG = [
    (Reply(b"<html>"), "JSONDecodeError"),
    (Reply(b"[1]"), "its reply is no chat completion"),
    (Reply(b'{"choices": []}'), "its reply is no chat completion"),
    (Reply(b'{"choices": [{"message": {"content": null}}]}'), "no chat completion"),
    (Reply(b"who are you", 401), "it answered 401$"),
    (Reply(b"never", 429, AT_ONCE), "it answered 429; it is asked too often"),
    (Reply(b"", 413), "it answered 413; a picture or the question is too large"),
    (Reply(b"", 302, {"Location": "http://127.0.0.1:9/else"}), "it answered 302"),
    (Reply(json.dumps({"error": {"message": f"wrong key:\n{KEY}"}}).encode(), 400),
     "it answered 400, wrong key: …$"),
    (Reply(b'{"object": "error", "message": "no model x"}', 404), "it answered 404, no model x"),
    (streamed("half an ans", done=False), "its reply broke off"),
    (Reply(events=["no json"]), "JSONDecodeError"),
    (Reply(b"[" * 200_000), "RecursionError"),
    (Reply(events=["[" * 200_000]), "RecursionError"),
    (Reply(b"[" * 200_000, 400), "it answered 400$"),
    (Reply(b" " * (9 << 20)), "its reply is longer than 8 MB"),
    (Reply(events=["x" * (9 << 20)]), "its reply is longer than 8 MB"),
    (Reply(b"zz", headers={"Transfer-Encoding": "chunked"}), "its reply broke off"),
    (Reply(b"", headers={"X": "a" * 70_000}), "LineTooLong"),
    (Reply(events=[json.dumps({"error": {"message": f"lost {KEY}"}})]), "it said lost …"),
]  # fmt: skip


@pytest.mark.parametrize(("reply", "message"), WRONG)
def test_what_is_no_reply_is_said_in_one_line(reply: Reply, message: str) -> None:
    heard: list[str] = []
    with serving(lambda _: reply) as (url, _):
        safe = url
        with_user = url.replace("//", f"//{KEY}@")
        assert ChatServer(with_user, "m", KEY).name == f"m at {safe}"
        with pytest.raises(LookerError, match=message) as raised:
            ChatServer(url, "m", KEY).reply(ASKED, Wish(), heard.append)
    assert str(raised.value).startswith(f"the model at {safe} cannot be asked: ")
    for text in (str(raised.value), repr(raised.value), repr(ChatServer(url, "m", KEY))):
        assert KEY not in text
        assert "\n" not in text


def test_one_that_says_nothing_or_is_not_there_is_said() -> None:
    slow = pytest.raises(LookerError, match=r"it said nothing for 0\.2 s")
    with serving(lambda _: Reply(pause=60.0)) as (url, _), slow:
        ChatServer(url, "m", seconds=0.2).reply(ASKED, Wish())
    with pytest.raises(LookerError, match=r"the model at http://127.0.0.1.*refused"):
        ChatServer(url, "m", KEY).reply(ASKED, Wish())


def test_one_that_sends_nothing_of_use_for_ever_is_left() -> None:
    beats = Reply(events=["\n\n: still here"] * 100_000)
    with (
        serving(lambda _: beats) as (url, _),
        pytest.raises(LookerError, match=r"it said nothing for 0\.2 s"),
    ):
        ChatServer(url, "m", seconds=0.2).reply(ASKED, Wish(), lambda _: None)


def test_what_a_reply_must_not_hold_is_taken_out() -> None:
    heard: list[str] = []
    pieces = ("it is ", KEY[:5], KEY[5:], " or s", "o \ud800")
    with serving(lambda _: streamed(*pieces)) as (url, _):
        told = ChatServer(url, "m", KEY).reply(ASKED, Wish(), heard.append)
    assert told == "".join(heard) == "it is … or so \\ud800"
    with serving(lambda _: said(f"a {KEY}")) as (url, _):
        assert ChatServer(url, "m", KEY).reply(ASKED, Wish()) == "a …"
