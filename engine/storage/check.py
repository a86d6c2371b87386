"""`store check`: everything in a data folder looked at, and nothing changed."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from time import monotonic

from engine.errors import NotFoundError, StoreError
from engine.storage.catalog import Catalog
from engine.storage.database import Database
from engine.storage.durable import checksum
from engine.storage.files import Files
from engine.storage.layout import Layout
from engine.storage.lock import Lock, holder, may_write
from engine.storage.log_length import LogLength
from engine.storage.notes import notes_damage
from engine.storage.publishing import copy_damage, hash_of, newest_copy, open_newest
from engine.storage.restoring import unfinished
from engine.storage.transcripts import Transcripts
from engine.storage.verify import (
    PartsRead,
    StoreProblem,
    verify_folder,
    verify_parts,
    verify_transcripts,
    verify_videos,
)

_TRIES = 5


@dataclass(slots=True)
class Checked:
    """What is wrong with a folder, and how much of it was looked at."""

    problems: list[StoreProblem] = field(default_factory=list)
    parts: PartsRead = field(default_factory=PartsRead)
    published: bool = False  # what was published last was looked at, beside or without a writer

    @property
    def whole(self) -> bool:
        """Whether every part was read."""
        return self.parts.read == self.parts.parts


def check(root: Path, *, seconds: float = inf) -> Checked:
    """Look at a folder.

    Beside a writer, and on a disk that cannot be written, what is published is looked at.
    After so many `seconds` parts are no longer read, only their sizes are looked at.
    """
    until = monotonic() + seconds
    layout = Layout(root.absolute())
    if not layout.root.is_dir():
        raise NotFoundError(f"no data folder '{root}'")
    if text := unfinished(layout):
        return Checked([StoreProblem(None, "restore", text)])
    if not layout.catalog.exists() and newest_copy(layout) is None and not layout.parts.exists():
        return Checked()
    done = Checked([*_copy(layout), *_notes(layout)])
    if holder(layout.root) is not None or not may_write(layout.root):
        done.published = True
        done.problems += _beside(layout, until, done.parts)
        return done
    lock = Lock(layout.root)
    try:
        done.problems += _closed(layout, until, done.parts)
    finally:
        lock.release()
    return done


def _beside(layout: Layout, until: float, told: PartsRead) -> list[StoreProblem]:
    """Look at what a writer has published; anew where it replaced that meanwhile."""
    for _ in range(_TRIES):
        with closing(open_newest(layout)) as database:
            problems = list(_look(layout, database, until, told, strays=False))
            if not problems or newest_copy(layout) == database.path:
                break
    return problems


def _copy(layout: Layout) -> Iterator[StoreProblem]:
    if newest_copy(layout) is None:
        yield StoreProblem(None, "copy", "there is no copy of the catalog for readers")
    elif damage := copy_damage(layout):
        yield StoreProblem(None, "copy", damage)


def _notes(layout: Layout) -> Iterator[StoreProblem]:
    if damage := notes_damage(layout):
        yield StoreProblem(None, "notes", damage)


def _closed(layout: Layout, until: float, told: PartsRead) -> Iterator[StoreProblem]:
    """Look at a folder that nobody holds."""
    if not layout.catalog.exists():
        yield StoreProblem(None, "catalog", "the catalog is gone; run `store repair`")
        return
    copy, was_closed = newest_copy(layout), not layout.catalog_log.exists()
    if copy is not None and was_closed and not checksum(layout.catalog).startswith(hash_of(copy)):
        text = "the catalog is not what was published last; any command that writes publishes it,"
        text += " or else `store repair` mends it"
        yield StoreProblem(None, "catalog", text)
    try:
        with closing(Database(layout.catalog, read_only=True)) as database:
            noted = LogLength.read(layout.catalog)
            if lost := database.lost or noted.damage(expected=database.notes_its_length()):
                yield StoreProblem(None, "catalog", lost)
            database.read_everything()
            yield from _look(layout, database, until, told, strays=True)
    except StoreError as error:
        yield StoreProblem(None, "catalog", str(error))


def _look(
    layout: Layout, database: Database, until: float, told: PartsRead, *, strays: bool
) -> Iterator[StoreProblem]:
    files = Files(layout, database, lambda _: None)
    catalog = Catalog(database, lambda _: None)
    yield from verify_videos(catalog, database, None)
    yield from verify_parts(files, layout.root, None, until, told)
    yield from verify_transcripts(Transcripts(layout, database, lambda _: None), None)
    yield from verify_folder(catalog, files, layout, strays=strays)
