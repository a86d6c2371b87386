"""What users have added to the relations: columns of videos, views and zones, as one value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from engine.errors import NotFoundError, UsageError, unknown
from engine.storage.database import insert, now
from engine.storage.records import ColumnKind
from engine.storage.user_columns import UserColumns
from engine.zones import Zone

MOST_VIEWS: Final = 200


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names that statements may use beside the relations' own; equal ones plan alike."""

    columns: tuple[tuple[str, ColumnKind], ...] = ()  # of videos, by name
    views: tuple[tuple[str, str], ...] = ()  # with their SELECT, by name
    zones: tuple[tuple[str, Zone], ...] = ()  # of pictures, by name

    @property
    def selects(self) -> Mapping[str, str]:
        """The SELECT of each view."""
        return MappingProxyType(dict(self.views))


@dataclass(slots=True)
class KeptVocabulary:
    """The vocabulary as of some state of the catalog."""

    state: tuple[int, str] = (-1, "")
    value: Vocabulary = field(default_factory=Vocabulary)


class SavedViews(UserColumns):
    """Typed access to the saved views; every method may be called from any thread."""

    _vocabulary: KeptVocabulary

    def views(self) -> dict[str, str]:
        """Return the SELECT of each view, by name."""
        return dict(self._database.all("SELECT name, sql FROM saved_views ORDER BY name"))

    def save_view(self, name: str, sql: str) -> None:
        """Keep a SELECT under a name, in the place of one before; it was checked by who calls."""
        with self._database.writing:
            known = self.views()
            if name not in known and len(known) >= MOST_VIEWS:
                raise UsageError(f"{len(known)} views are there; allowed: {MOST_VIEWS}")
            with self._database.transaction(shown=False) as cursor:
                cursor.execute("DELETE FROM saved_views WHERE name = ?", [name])
                insert(cursor, "saved_views", {"name": name, "sql": sql, "created_at": now()})

    def drop_view(self, name: str) -> None:
        """Forget a view."""
        with self._database.writing:
            if name not in self.views():
                raise NotFoundError(unknown("view", name, self.views()))
            with self._database.transaction(shown=False) as cursor:
                cursor.execute("DELETE FROM saved_views WHERE name = ?", [name])

    def change_as_checked(self, among: Vocabulary, change: Callable[[], None]) -> bool:
        """Make a change that was checked among some names; False, and nothing, if others are now.

        So of two that make or drop views at once the second is checked against the first.
        """
        with self._database.writing:
            known = self.vocabulary()
            if (known.columns, known.views) != (among.columns, among.views):
                return False
            change()
            return True

    def vocabulary(self) -> Vocabulary:
        """Return what users have added; it is read again only where the catalog has changed."""
        state = (self._database.changes, str(self._database.path))
        kept = self._vocabulary
        if kept.state != state:
            value = Vocabulary(tuple(self.columns().items()), tuple(self.views().items()))
            kept = self._vocabulary = KeptVocabulary(state, value)
        return kept.value
