"""`dejavu.toml`: settings of the folder one stands in, below variables and flags."""

import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.errors import UsageError, unknown

NAME = "dejavu.toml"
SERVER = "server"  # the table of a server's own settings
OBJECT = "object"  # the table of how objects elsewhere are read
_TABLES = (SERVER, OBJECT)
_PATHS = ("data", "parts")  # that are meant as seen from the file
_SEPARATORS = {"video_roots": ":"}  # of settings that list more than one thing; others: a comma


def config_path() -> Path | None:
    """Return the file that DEJAVU_CONFIG names, else ./dejavu.toml where there is one."""
    named = os.environ.get("DEJAVU_CONFIG")
    if named is None:
        return Path(NAME) if Path(NAME).is_file() else None
    if not Path(named).is_file():
        raise UsageError(f"no file {named!r}, which DEJAVU_CONFIG names")
    return Path(named)


def read_config(allowed: Iterable[str], *, table: str | None = None) -> dict[str, Any]:
    """Return what the file sets of the engine, or of its table; unknown names are refused."""
    path = config_path()
    if path is None:
        return {}
    given = _parse(path)
    if table is not None:
        given = given.get(table, {})
        if not isinstance(given, dict):
            raise UsageError(f"{path}: {table} is a table, got {given!r}")
    names = [*allowed, *(_TABLES if table is None else ())]
    wrong = next((name for name in given if name not in names), None)
    if wrong is not None:
        raise UsageError(f"{path}: {unknown('setting', wrong, names)}")
    tables = _TABLES if table is None else ()
    return {name: _value(path, name, each) for name, each in given.items() if name not in tables}


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {str(error).lower()}") from error


def _value(path: Path, name: str, given: Any) -> Any:
    """Return a value as a variable would have it."""
    if isinstance(given, list):
        return _SEPARATORS.get(name, ",").join(map(str, given))
    return path.parent / Path(given).expanduser() if name in _PATHS else given
