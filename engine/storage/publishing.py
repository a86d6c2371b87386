"""The published copy of the catalog: immutable, whole, what readers use beside a writer."""

import logging
import os
import re
import shutil
from pathlib import Path

from engine.errors import StoreError
from engine.storage.database import BusyError, Database
from engine.storage.durable import Reached, checksum, make_folder, sync
from engine.storage.layout import Layout
from engine.storage.log_length import HEADER_BYTES
from engine.storage.notes import write_notes

_log = logging.getLogger(__name__)
_HASH_CHARACTERS = 16
_NAME = re.compile(r"([0-9]{10})-([0-9a-f]{16})\.duckdb")


def publish_copy(layout: Layout, database: Database, reached: Reached) -> bool:
    """Checkpoint the catalog and let readers see it as it is now; return whether that was done.

    A copy has its number and its hash in its name. A disk that is full leaves the former copy, and
    the files that it names have to stay.
    """
    if not _has_room(layout):
        return False
    make_folder(layout.published)
    former = copies(layout)
    number = 1 + max((number_of(path) or 0 for path in former), default=0)
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
    temporary.rename(layout.published / f"{number:010d}-{digest}.duckdb")
    sync(layout.published)
    reached("copy: published")
    for path in former:
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
    return max(copies(layout), default=None)


def is_published(layout: Layout) -> bool:
    """Whether readers are given all that the catalog of a folder that nobody holds has.

    It is not where a process was killed before it published, where the disk was full, and where
    the copy has been damaged since. To be asked before the catalog is opened: closing a file again
    would free DuckDB's lock on it.
    """
    copy = newest_copy(layout)
    if copy is None or layout.catalog_log.exists() or not layout.catalog.exists():
        return False
    return _head(copy) == _head(layout.catalog) and copy_damage(layout) is None


def _head(path: Path) -> tuple[int, bytes]:
    with path.open("rb") as file:
        return path.stat().st_size, file.read(HEADER_BYTES)


def number_of(path: Path) -> int | None:
    """Return the number of a published copy, which rises; None of a file that is not one."""
    found = _NAME.fullmatch(path.name)
    return int(found[1]) if found else None


def hash_of(copy: Path) -> str:
    """Return the beginning of the SHA-256 that a copy had when it was published."""
    return copy.stem.partition("-")[2]


def copy_damage(layout: Layout) -> str | None:
    """Return what is wrong with the copy that was published last, or None."""
    copy = newest_copy(layout)
    if copy is None or checksum(copy).startswith(hash_of(copy)):
        return None
    return f"{layout.relative(copy)} is not what was published"


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


def copies(layout: Layout) -> list[Path]:
    """Return all published copies, the newest last: files that are called so."""
    if not layout.published.is_dir():
        return []
    files = (entry.name for entry in os.scandir(layout.published) if entry.is_file())
    paths = (layout.published / name for name in files)
    return sorted(path for path in paths if number_of(path) is not None)
