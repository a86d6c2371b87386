"""`store check`: everything in a data folder looked at, and nothing changed."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from engine.errors import NotFoundError, StoreError
from engine.storage.catalog import Catalog
from engine.storage.database import Database
from engine.storage.durable import checksum
from engine.storage.files import Files
from engine.storage.layout import Layout
from engine.storage.lock import Lock, holder
from engine.storage.publishing import hash_of, newest_copy, open_newest
from engine.storage.verify import Problem, verify_folder, verify_parts, verify_videos


def check(root: Path) -> list[Problem]:
    """Return what is wrong with a folder; beside a writer, with what it has published."""
    layout = Layout(root.absolute())
    if not layout.root.is_dir():
        raise NotFoundError(f"no data folder '{root}'")
    if not layout.catalog.exists() and newest_copy(layout) is None and not layout.parts.exists():
        return []
    problems = list(_copy(layout))
    if holder(layout.root) is not None:
        with closing(open_newest(layout)) as database:
            return [*problems, *_look(layout, database)]
    lock = Lock(layout.root)
    try:
        return [*problems, *_closed(layout)]
    finally:
        lock.release()


def _copy(layout: Layout) -> Iterator[Problem]:
    copy = newest_copy(layout)
    if copy is None:
        yield Problem(None, "copy", "there is no copy of the catalog for readers")
    elif not checksum(copy).startswith(hash_of(copy)):
        yield Problem(None, "copy", f"{layout.relative(copy)} is not what was published")


def _closed(layout: Layout) -> Iterator[Problem]:
    """Look at a folder that nobody holds."""
    if not layout.catalog.exists():
        yield Problem(None, "catalog", "the catalog is gone; run `store repair`")
        return
    copy, was_closed = newest_copy(layout), not layout.catalog_log.exists()
    if copy is not None and was_closed and not checksum(layout.catalog).startswith(hash_of(copy)):
        text = "the catalog is not what was published when it was closed; run `store repair`"
        yield Problem(None, "catalog", text)
    try:
        with closing(Database(layout.catalog)) as database:
            database.read_everything()
            yield from _look(layout, database)
    except StoreError as error:
        yield Problem(None, "catalog", str(error).partition(";")[0] + "; run `store repair`")


def _look(layout: Layout, database: Database) -> Iterator[Problem]:
    files = Files(layout, database, lambda _: None)
    catalog = Catalog(database, lambda _: None)
    yield from verify_videos(catalog, database, None)
    yield from verify_parts(files, layout.root, None)
    yield from verify_folder(catalog, files, layout)
