"""Which embedding space a model's files give, so that it is known without loading them."""

from engine.storage.database import Database


class KnownModels:
    """The spaces of models by what tells their files from others."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def space_of(self, files: str) -> str | None:
        """Return the key of the space that a model was found to give, if it is in the catalog."""
        found = self._database.one(
            "SELECT space_key FROM spaces JOIN settings ON value = space_key"
            " WHERE settings.name = ?",
            [_named(files)],
        )
        return None if found is None else str(found[0])

    def note(self, files: str, space_key: str) -> None:
        """Keep which space a model's files give."""
        with self._database.transaction(shown=False) as cursor:
            cursor.execute("DELETE FROM settings WHERE name = ?", [_named(files)])
            cursor.execute("INSERT INTO settings VALUES (?, ?)", [_named(files), space_key])


def _named(files: str) -> str:
    return f"space of {files}"
