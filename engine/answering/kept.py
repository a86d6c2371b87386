"""What was said and asked, kept in the data folder: replies of models, and sessions."""

import hashlib
import json
import logging
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final

from engine.answering.chat import ChatTurn, SeeingModel, Tell, Wish, silent
from engine.errors import NotFoundError

log = logging.getLogger(__name__)
MOST_REPLIES: Final = 200_000
_MOST_EXCHANGES: Final = 20_000
_PATIENCE: Final = 30.0  # seconds that another process may hold the file
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS replies (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, text TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS exchanges (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL, question TEXT NOT NULL, answer TEXT NOT NULL, videos TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS exchanges_session ON exchanges (session);
"""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question of a session, its answer, and the videos that were cited."""

    question: str
    answer: str
    videos: tuple[int, ...]


class AnswerFile:
    """A small database beside the catalog, for any thread; nothing in it is missed when it goes.

    A file that cannot be opened or written, as in a folder of somebody else, is done without:
    what is kept then lasts as long as this process.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = Lock()
        self._database = _opened(path)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def reply(self, key: str) -> str | None:
        """Return what was replied, None where that is not known."""
        found = self._asked("SELECT text FROM replies WHERE key = ?", [key])
        return str(found[0][0]) if found else None

    def keep_reply(self, key: str, text: str) -> None:
        """Keep a reply; the oldest go where there are too many."""
        self._asked("INSERT OR REPLACE INTO replies (key, text) VALUES (?, ?)", [key, text])
        last = "SELECT max(number) FROM replies"
        self._asked(f"DELETE FROM replies WHERE number <= ({last}) - ?", [MOST_REPLIES])

    def session(self, session: str) -> list[Exchange]:
        """Return what was asked in a session, in order."""
        rows = self._asked(
            "SELECT question, answer, videos FROM exchanges WHERE session = ? ORDER BY number",
            [session],
        )
        if not rows:
            raise NotFoundError(f"no session {session[:40]!r}; an answer names its own")
        return [
            Exchange(question, answer, tuple(json.loads(held))) for question, answer, held in rows
        ]

    def add(self, session: str | None, exchange: Exchange) -> str:
        """Add to a session, or begin one; return its name."""
        name = session or secrets.token_hex(16)
        self._asked(
            "INSERT INTO exchanges (session, question, answer, videos) VALUES (?, ?, ?, ?)",
            [name, exchange.question, exchange.answer, json.dumps(exchange.videos)],
        )
        last = "SELECT max(number) FROM exchanges"
        self._asked(f"DELETE FROM exchanges WHERE number <= ({last}) - ?", [_MOST_EXCHANGES])
        return name

    def _asked(self, statement: str, values: list[Any]) -> list[Any]:
        """Run a statement; where the file fails, from then on on a copy of it in memory."""
        with self._lock:
            try:
                with self._database as database:
                    return database.execute(statement, values).fetchall()
            except sqlite3.Error as error:  # a full disk, damage, a file that is read only
                log.warning("what is said is kept in memory from now on: %s", error)
            file, self._database = self._database, _in_memory(self._database)
            file.close()
            with self._database as database:
                return database.execute(statement, values).fetchall()


@dataclass(frozen=True, slots=True)
class KeptModel:
    """A model whose replies are kept under all that they rest on: its name, words and pictures."""

    model: SeeingModel
    kept: AnswerFile

    @property
    def name(self) -> str:
        """The model's."""
        return self.model.name

    def reply(self, turns: Sequence[ChatTurn], wish: Wish, tell: Tell = silent) -> str:
        """Return what was replied before, else ask."""
        key = _key(self.name, turns, wish)
        found = self.kept.reply(key)
        if found is not None:
            tell(found)
            return found
        text = self.model.reply(turns, wish, tell)
        if wish.of_use(text):
            self.kept.keep_reply(key, text)
        return text


def _key(name: str, turns: Sequence[ChatTurn], wish: Wish) -> str:
    told: list[Any] = [
        [turn.role, *(
            [part.text, None if part.picture is None else hashlib.sha256(part.picture).hexdigest()]
            for part in turn.parts
        )]
        for turn in turns
    ]  # fmt: skip
    text = json.dumps([name, told, wish.most_tokens, wish.schema], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _opened(path: Path | None) -> sqlite3.Connection:
    """Open the file, else a database in memory; one that is no database is begun anew."""
    if path is not None:
        try:
            return _connected(path)
        except sqlite3.OperationalError as error:
            log.warning("%s cannot be opened, so replies are kept in memory: %s", path.name, error)
        except sqlite3.DatabaseError:
            path.unlink(missing_ok=True)
            return _connected(path)
    return _connected(":memory:")


def _in_memory(file: sqlite3.Connection) -> sqlite3.Connection:
    """Return a copy of a database, an empty one where it cannot be read."""
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    try:
        file.backup(copy)
        if copy.execute("PRAGMA quick_check").fetchone() == ("ok",):
            return copy
    except sqlite3.Error:  # damaged
        log.warning("what was said before cannot be read")
    copy.close()
    return _connected(":memory:")


def _connected(place: Path | str) -> sqlite3.Connection:
    database = sqlite3.connect(place, timeout=_PATIENCE, check_same_thread=False)
    try:
        with database:
            database.executescript(_TABLES)
    except sqlite3.Error:
        database.close()
        raise
    return database
