"""The published copy of the catalog: immutable, whole, what readers use beside a writer."""

import logging
import os
import shutil
from pathlib import Path

from engine.errors import StoreError
from engine.storage.database import BusyError, Database
from engine.storage.durable import Reached, make_folder, sync
from engine.storage.layout import Layout
from engine.storage.notes import write_notes

_log = logging.getLogger(__name__)
_SUFFIX = ".duckdb"
_HASH_CHARACTERS = 16
_HEADER_BYTES = 3 * 4096  # of a DuckDB file; every checkpoint changes one of its three headers


def publish_copy(layout: Layout, database: Database, reached: Reached) -> bool:
    """Checkpoint the catalog and let readers see it as it is now; return whether that was done.

    A copy has its number and its hash in its name. A disk that is full leaves the former copy, and
    the files that it names have to stay.
    """
    if not _has_room(layout):
        return False
    make_folder(layout.published)
    former = newest_copy(layout)
    number = 1 if former is None else number_of(former) + 1
    temporary = layout.published / ".copy.tmp"
    reached("copy: begin")
    try:
        write_notes(layout, database)
        digest = database.copy(temporary)[:_HASH_CHARACTERS]
        sync(temporary)
    except (OSError, BusyError) as error:
        temporary.unlink(missing_ok=True)
        _log.warning("readers see the store as it was before: %s", error)
        return False
    reached("copy: written")
    temporary.rename(layout.published / f"{number:010d}-{digest}{_SUFFIX}")
    sync(layout.published)
    reached("copy: published")
    for path in _copies(layout):
        if number_of(path) < number:
            path.unlink(missing_ok=True)
    return True


def _has_room(layout: Layout) -> bool:
    """Whether log and copy fit on the disk: a checkpoint that breaks off ends the connection."""
    files = (layout.catalog, layout.catalog_log)
    needed = sum(2 * path.stat().st_size for path in files if path.exists())
    free = shutil.disk_usage(layout.root).free
    if free < needed:
        text = "readers see the store as it was before: %.1f MB are free, %.1f MB are needed"
        _log.warning(text, free / 1e6, needed / 1e6)
    return free >= needed


def newest_copy(layout: Layout) -> Path | None:
    """Return the copy that was published last, or None."""
    return max(_copies(layout), key=number_of, default=None)


def is_published(layout: Layout) -> bool:
    """Whether readers are given all that the catalog of a folder that nobody holds has.

    It is not where a process was killed before it published, and not where the disk was full. To
    be asked before the catalog is opened: closing a file again would free DuckDB's lock on it.
    """
    copy = newest_copy(layout)
    if copy is None or layout.catalog_log.exists() or not layout.catalog.exists():
        return False
    return _head(copy) == _head(layout.catalog)


def _head(path: Path) -> tuple[int, bytes]:
    with path.open("rb") as file:
        return path.stat().st_size, file.read(_HEADER_BYTES)


def number_of(copy: Path) -> int:
    """Return the number of a published copy; it rises."""
    return int(copy.name.partition("-")[0])


def hash_of(copy: Path) -> str:
    """Return the beginning of the SHA-256 that a copy had when it was published."""
    return copy.name.partition("-")[2].removesuffix(_SUFFIX)


def open_newest(layout: Layout) -> Database:
    """Open the newest copy for reading, also while another takes its place."""
    for _ in range(10):
        copy = newest_copy(layout)
        if copy is None:
            raise StoreError(
                f"nothing has been published in {layout.root} to read beside its writer"
            )
        try:
            return Database(copy, read_only=True)
        except StoreError:
            if copy.exists():
                raise
    raise StoreError(f"the copies in {layout.published} change too fast to be read")


def _copies(layout: Layout) -> list[Path]:
    if not layout.published.is_dir():
        return []
    names = (entry.name for entry in os.scandir(layout.published))
    own = (name for name in names if name.endswith(_SUFFIX) and name[:10].isdigit())
    return [layout.published / name for name in own]
