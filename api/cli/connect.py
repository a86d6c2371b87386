"""Which engine a command talks to: the server that has the data folder, or one of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import engine
from api.cli import show
from engine.client import Client
from engine.errors import NotFoundError
from engine.storage.lock import holder, may_write

if TYPE_CHECKING:
    from engine.library import Library
    from engine.session import Engine


@contextmanager
def connect(
    data: Path, model: str, device: str, *, create: bool = False
) -> "Iterator[Engine | Client]":
    """Give the running server where there is one, else an engine of this process.

    Unless it is to `create`, an engine that only reads does where another process writes.
    """
    if not create:
        check_folder(data)
    remote = find_server(data)
    if remote is not None:
        show.err.print(f"[dim]using the server at {remote.url}[/]")
        yield remote
        return
    reads = not create and must_only_read(data)
    with engine.Engine.open(data, model=model, device=device, read_only=reads) as opened:
        yield opened


@contextmanager
def reach(data: Path, *, writes: bool = False) -> "Iterator[Client | Library]":
    """Give the running server where there is one, else the data folder, for what needs no model."""
    remote = find_server(data)
    if remote is not None:
        yield remote
        return
    with open_folder(data, writes=writes) as opened:
        yield opened


@contextmanager
def open_folder(data: Path, *, writes: bool = False) -> "Iterator[Library]":
    """Open a folder that exists; where nothing is to be written, also beside a writer."""
    check_folder(data)
    with engine.Library.open(data, read_only=not writes and must_only_read(data)) as opened:
        yield opened


@contextmanager
def open_published(data: Path) -> "Iterator[Library]":
    """Open what is published for a command that takes long: who wants to write need not wait."""
    check_folder(data)
    if not must_only_read(data):
        engine.Library.open(data).close()  # publishes what an ended process had committed
    with engine.Library.open(data, read_only=True) as opened:
        yield opened


def must_only_read(data: Path) -> bool:
    """Whether the folder is another's or cannot be written: then what was published is read."""
    held = holder(data)
    if held is not None:
        show.err.print(f"[dim]process {held.pid} writes here: this is what it published last[/]")
    elif not may_write(data):
        show.err.print("[dim]nothing can be written here: this is what was published last[/]")
    return held is not None or not may_write(data)


def check_folder(data: Path) -> None:
    """Refuse a folder that does not exist: most likely its name is misspelt."""
    if not data.is_dir():
        raise NotFoundError(
            f"no data folder '{data}'; dejavu-engine ingest PATH --data {data} makes one"
        )


def find_server(data: Path) -> Client | None:
    """Return the server that has a data folder, if one runs."""
    held = holder(data)
    if held is None or held.url is None:
        return None
    keys = [key.partition(":")[2] for key in os.environ.get("DEJAVU_API_KEYS", "").split(",")]
    return Client(held.url, keys[0] or None)
