"""What an ingest on a cluster was asked for, kept on disk until it has come to its end."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.ingesting.discover import Found
from engine.objects.address import Place
from engine.storage.durable import sync


def note(path: Path, paths: Sequence[str | Place | Found], options: Mapping[str, Any]) -> None:
    """Keep what is asked for, in the place of what was kept before."""
    named = [each.address if isinstance(each, Found) else str(each) for each in paths]
    whole = [name if "://" in name else str(Path(name).absolute()) for name in named]
    kept = {name: value for name, value in options.items() if value is not None}
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps({"paths": whole, "options": kept}, default=str))
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def unfinished(path: Path) -> tuple[list[str], dict[str, Any]]:
    """Return paths and options of the ingest that broke off; UsageError where none did."""
    try:
        kept = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UsageError(
            f"no ingest by ray has broken off in {path.parent}; allowed: paths to ingest"
        ) from error
    return kept["paths"], kept["options"]


def forget(path: Path) -> None:
    """Note that the ingest has come to its end."""
    path.unlink(missing_ok=True)
