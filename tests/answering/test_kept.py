"""Replies and sessions are kept beside the catalog, and nothing is lost where they are not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.answering.chat import ChatTurn, Tell, TurnPart, Wish, silent
from engine.answering.kept import AnswerFile, Exchange, KeptModel
from engine.errors import NotFoundError


class Counting:
    """Says how often it was asked."""

    def __init__(self, name: str = "counting") -> None:
        self.name = name
        self.asked = 0

    def reply(self, turns: Sequence[ChatTurn], wish: Wish, tell: Tell = silent) -> str:
        self.asked += 1
        tell(str(self.asked))
        return str(self.asked)


ONE = (ChatTurn("user", (TurnPart("a"), TurnPart(picture=b"x"))),)


@pytest.mark.parametrize(
    ("name", "turns", "wish"),
    [
        ("other", ONE, Wish()),
        ("counting", (ChatTurn("user", (TurnPart("b"), TurnPart(picture=b"x"))),), Wish()),
        ("counting", (ChatTurn("user", (TurnPart("a"), TurnPart(picture=b"y"))),), Wish()),
        ("counting", (ChatTurn("assistant", ONE[0].parts),), Wish()),
        ("counting", (*ONE, ChatTurn.of("more")), Wish()),
        ("counting", ONE, Wish(7)),
        ("counting", ONE, Wish(schema={"type": "null"})),
    ],
)
def test_a_reply_is_kept_under_all_that_it_rests_on(
    tmp_path: Path, name: str, turns: tuple[ChatTurn, ...], wish: Wish
) -> None:
    first, heard = Counting(), list[str]()
    path = tmp_path / "answers.sqlite"
    kept = AnswerFile(path)
    assert KeptModel(first, kept).reply(ONE, Wish()) == "1"
    kept.close()
    again = AnswerFile(path)
    assert KeptModel(first, again).reply(ONE, Wish(), heard.append) == "1"
    assert (first.asked, heard) == (1, ["1"])
    other = Counting(name)
    KeptModel(other, again).reply(turns, wish)
    assert other.asked == 1
    again.close()


def test_a_session_goes_on_where_it_was(tmp_path: Path) -> None:
    kept = AnswerFile(tmp_path / "answers.sqlite")
    exchanges = [Exchange(f"q{n}", f"a{n}", (n, 7)) for n in range(3)]
    name = kept.add(None, exchanges[0])
    other = kept.add(None, exchanges[1])
    assert kept.add(name, exchanges[2]) == name != other
    kept.close()
    again = AnswerFile(tmp_path / "answers.sqlite")
    assert again.session(name) == [exchanges[0], exchanges[2]]
    with pytest.raises(NotFoundError, match="no session 'else'; an answer names its own"):
        again.session("else")
    again.close()


@pytest.mark.parametrize("content", [b"no database at all" * 100, None])
def test_a_file_that_cannot_be_used_is_done_without(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "answers.sqlite"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    kept, model = AnswerFile(path), Counting()
    assert [KeptModel(model, kept).reply(ONE, Wish()) for _ in range(2)] == ["1", "1"]
    kept.close()


@pytest.mark.parametrize("damage", ["pages", "read only"])
def test_a_file_that_fails_later_is_done_without(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "answers.sqlite"
    kept, model = AnswerFile(path), Counting()
    for number in range(200):
        kept.keep_reply(f"key {number}", "long " * 100)
    name = kept.add(None, Exchange("q", "a", (1,)))
    if damage == "pages":
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xee" * (size - 4096))
        kept.close()
        kept = AnswerFile(path)
    else:
        kept._database.execute("PRAGMA query_only = on")
    assert [KeptModel(model, kept).reply(ONE, Wish()) for _ in range(2)] == ["1", "1"]
    if damage == "read only":
        assert kept.session(name) == [Exchange("q", "a", (1,))]
    other = kept.add(None, Exchange("q2", "a2", ()))
    assert kept.session(other) == [Exchange("q2", "a2", ())]
    kept.close()
