"""Which engine a command talks to: the server that has the data folder, or one of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.cli import show
from api.remote import Remote
from engine.session import Engine
from engine.storage.lock import holder


@contextmanager
def connect(data: Path, model: str, device: str) -> Iterator[Engine | Remote]:
    """Give the running server where there is one, else an engine of this process."""
    remote = find_server(data)
    if remote is not None:
        show.err.print(f"[dim]using the server at {remote.url}[/]")
        yield remote
        return
    with Engine.open(data, model=model, device=device) as engine:
        yield engine


def find_server(data: Path) -> Remote | None:
    """Return the server that has a data folder, if one runs."""
    held = holder(data)
    if held is None or held.url is None:
        return None
    keys = [key.partition(":")[2] for key in os.environ.get("DEJAVU_API_KEYS", "").split(",")]
    return Remote(held.url, keys[0] or None)
