"""Queries that stand: what is looked for in every video that comes in."""

import json
from dataclasses import asdict, dataclass

from engine.errors import NotFoundError, UsageError, unknown
from engine.storage.database import Database

MOST_STANDING = 100
_PREFIX = "standing query "


@dataclass(frozen=True, slots=True)
class StandingQuery:
    """A text that is looked for in what comes in, and whom a match is told to."""

    name: str
    text: str
    min_score: float | None = None  # None: a match has to be clear
    where: str | None = None  # a condition on columns of videos
    url: str | None = None  # None: nobody is told
    secret: str | None = None  # what tells are signed with
    gap_seconds: float = 5.0  # matches of a camera that follow so soon are one happening


class StandingRecords:
    """Typed access to the queries that stand; every method may be called from any thread."""

    _database: Database

    def standing(self) -> list[StandingQuery]:
        """Return the queries that stand, by name."""
        rows = self._database.all(
            "SELECT value FROM settings WHERE starts_with(name, ?) ORDER BY name", [_PREFIX]
        )
        return [StandingQuery(**json.loads(value)) for (value,) in rows]

    def standing_query(self, name: str) -> StandingQuery:
        """Return the one of a name."""
        known = {query.name: query for query in self.standing()}
        if name not in known:
            raise NotFoundError(unknown("standing query", name, known))
        return known[name]

    def put_standing(self, query: StandingQuery) -> None:
        """Keep a query, in the place of one of its name."""
        with self._database.writing:
            known = {each.name for each in self.standing()}
            if query.name not in known and len(known) >= MOST_STANDING:
                said = f"{len(known)} standing queries are there; allowed: {MOST_STANDING}"
                raise UsageError(said)
            with self._database.transaction(shown=False) as cursor:
                cursor.execute("DELETE FROM settings WHERE name = ?", [_PREFIX + query.name])
                values = [_PREFIX + query.name, json.dumps(asdict(query))]
                cursor.execute("INSERT INTO settings VALUES (?, ?)", values)

    def drop_standing(self, name: str) -> None:
        """Forget a query."""
        with self._database.writing:
            self.standing_query(name)
            with self._database.transaction(shown=False) as cursor:
                cursor.execute("DELETE FROM settings WHERE name = ?", [_PREFIX + name])
