"""Backups: a folder that is a store itself, of one moment, made beside a running writer too."""

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import NotFoundError, StoreError
from engine.storage.database import Database
from engine.storage.durable import checksum, make_folder, sync
from engine.storage.files import Files
from engine.storage.layout import Layout
from engine.storage.lock import holder, may_write
from engine.storage.log_length import HEADER_BYTES, note_length
from engine.storage.notes import write_notes
from engine.storage.publishing import copy_damage, hash_of, newest_copy, number_of
from engine.storage.recover import is_ours, is_temporary
from engine.storage.restoring import begin, end
from engine.storage.store import Store

_TRIES = 5
_MARK = "backup"  # holds the identity of the store that a backup is of
_TRACES = (  # of a store that had no identity yet when its backup was made
    "SELECT space_key, added_at::VARCHAR FROM spaces",
    "SELECT content_hash, ingested_at::VARCHAR FROM videos ORDER BY video_id LIMIT 1000",
)


@dataclass(slots=True)
class Copied:
    """What a backup or a restore did; `damaged` files were left out."""

    files: int = 0
    size_bytes: int = 0
    kept: int = 0  # files that were there already
    damaged: list[str] = field(default_factory=list)


def backup(root: Path, target: Path) -> Copied:
    """Copy what is published into a folder that is empty or an earlier backup.

    Files of an earlier backup that are the same are kept, so that the next one costs what changed.
    """
    layout, to = Layout(root.absolute()), Layout(target.absolute())
    expect_store(layout)
    if _inside(to.root, layout.root):
        raise StoreError(f"{target} lies in the store that it is to be a backup of")
    if to.root.exists() and any(to.root.iterdir()) and not (to.root / _MARK).exists():
        raise StoreError(f"{target} is neither empty nor a backup; nothing was copied")

    def take(copy: Path) -> Copied:
        _claim(copy, to, target)
        return _copy_store(layout, copy, to)

    return of_newest(layout, take)


def expect_store(layout: Layout) -> None:
    """Raise NotFoundError where there is nothing to be copied."""
    if not layout.root.is_dir():
        raise NotFoundError(f"no data folder '{layout.root}'")


def of_newest(layout: Layout, take: Callable[[Path], Copied]) -> Copied:
    """Take the newest copy of the catalog, once more where a writer drops its files meanwhile."""
    if holder(layout.root) is None and may_write(layout.root):
        Store.open(layout.root).close()  # publishes all; a writer publishes what it does itself
    for _ in range(_TRIES):
        copy = newest_copy(layout)
        if copy is None:
            raise StoreError(f"nothing has been published in {layout.root} that could be copied")
        if damage := copy_damage(layout):
            mends = f"dejavu-engine store repair --data {layout.root} mends it"
            raise StoreError(f"{damage}; nothing was copied; {mends}")
        try:
            return take(copy)
        except FileNotFoundError:
            if newest_copy(layout) == copy:
                raise
    raise StoreError(f"the files of {layout.root} change too fast to be copied")


def files_of(layout: Layout, copy: Path) -> tuple[dict[str, str | None], str]:
    """Return the files that a catalog names, with how their checksums begin, and whose it is."""
    with closing(Database(copy, read_only=True)) as database:
        ledger = Files(layout, database, lambda _: None).ledger
        named: dict[str, str | None] = {part.path: part.checksum for part in ledger.parts()}
        named |= ledger.index_checksums()
        named |= ledger.transcript_checksums()
        return named, database.identity() or ""


def extras_of(layout: Layout) -> list[Path]:
    """Return the files beside those that a catalog names: uploads and the cards of models."""
    folders = (folder for folder in (layout.uploads, layout.cards) if folder.is_dir())
    return [path for folder in folders for path in sorted(folder.glob("*"))]


def settle(to: Layout, copy: Path) -> None:
    """Make the catalog of a store whose other files are there, from its published copy."""
    with closing(Database(copy, read_only=True)) as database:
        write_notes(to, database)
    temporary = to.root / ".catalog.tmp"
    shutil.copyfile(copy, temporary)
    sync(temporary)
    with temporary.open("rb") as file:
        note_length(to.catalog, file.read(HEADER_BYTES))
    temporary.replace(to.catalog)
    sync(to.root)


def restore(source: Path, root: Path) -> Copied:
    """Make a store of a backup, in a folder that is empty or not there.

    One that was broken off goes on when it is run again; until then nothing else opens the folder.
    """
    layout, to = Layout(source.absolute()), Layout(root.absolute())
    if not (layout.root / _MARK).exists():
        raise NotFoundError(f"no backup '{source}'")
    if _inside(to.root, layout.root):
        raise StoreError(f"{root} lies in the backup that it is to be made of")
    if to.root.exists() and any(to.root.iterdir()) and not to.restoring.exists():
        raise StoreError(f"{root} is not empty; nothing was restored")
    copy = newest_copy(layout)
    if copy is None:
        raise StoreError(f"the backup {source} was not finished; nothing was restored")
    if damage := copy_damage(layout):
        mends = f"dejavu-engine store repair --data {layout.root} mends it"
        raise StoreError(f"{damage}; nothing was copied; {mends}")
    begin(to, layout.root)
    done = _copy_store(layout, copy, to)
    end(to)
    return done


def _claim(copy: Path, to: Layout, target: Path) -> None:
    """Mark a folder as a backup of a store; StoreError where it is one of another, or a later."""
    mark, earlier = to.root / _MARK, newest_copy(to)
    with closing(Database(copy, read_only=True)) as database:
        own = database.identity() or ""
        known = mark.read_bytes().decode(errors="replace") if mark.exists() else ""
        same = own == known or not (known or earlier)
        same = same or (earlier is not None and _alike(database, earlier))
    if not same:
        raise StoreError(
            f"{target} is a backup of another store; nothing was copied;"
            " allowed: an empty folder, or a backup of this one"
        )
    if earlier is not None and (number_of(earlier) or 0) > (number_of(copy) or 0):
        raise StoreError(
            f"{target} holds {earlier.name} of this store, which comes after {copy.name};"
            " nothing was copied; allowed: an empty folder"
        )
    make_folder(to.root)
    mark.write_text(own or known)
    sync(mark)


def _alike(database: Database, copy: Path) -> bool:
    """Whether two catalogs are of one store, as far as their first spaces and videos tell."""
    with closing(Database(copy, read_only=True)) as other:
        if database.identity() == other.identity() is not None:
            return True
        own, theirs = ({row for sql in _TRACES for row in db.all(sql)} for db in (database, other))
    return not own.isdisjoint(theirs)


def _inside(folder: Path, other: Path) -> bool:
    return folder.resolve().is_relative_to(other.resolve())


def _copy_store(layout: Layout, copy: Path, to: Layout) -> Copied:
    """Copy the files that a catalog names, then the catalog, then drop what it does not name."""
    done, (named, _) = Copied(), files_of(layout, copy)
    for path, digest in named.items():
        try:
            _copy_file(layout.root / path, to.root / path, digest, done)
        except FileNotFoundError:
            if newest_copy(layout) != copy:
                raise
            done.damaged.append(f"{path} is gone")
    for extra in extras_of(layout):
        _copy_file(extra, to.root / layout.relative(extra), None, done)
    _copy_file(copy, to.published / copy.name, hash_of(copy), done)
    settle(to, to.published / copy.name)
    _drop_others(to, set(named), copy)
    return done


def _copy_file(source: Path, target: Path, digest: str | None, done: Copied) -> None:
    """Copy a file unless it is there; with a checksum, only one that is what was written."""
    same_size = target.exists() and target.stat().st_size == source.stat().st_size
    if same_size and (digest is None or checksum(target).startswith(digest)):
        done.kept += 1
        return
    make_folder(target.parent)
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.copyfile(source, temporary)
    if digest is not None and not checksum(temporary).startswith(digest):
        temporary.unlink()
        done.damaged.append(f"{source.name} is not what was written")
        return
    sync(temporary)
    temporary.replace(target)
    sync(target.parent)
    done.files += 1
    done.size_bytes += target.stat().st_size


def _drop_others(to: Layout, named: set[str], copy: Path) -> None:
    """Delete from a backup what an earlier one needed."""
    for folder in (to.parts, to.indexes, to.transcripts):
        for path in sorted(folder.rglob("*")):
            if to.relative(path) not in named and (is_temporary(path) or is_ours(path)):
                path.unlink()
    for path in sorted(to.published.iterdir()):
        left = path.is_file() and path.name != copy.name
        if left and (is_temporary(path) or number_of(path) is not None):
            path.unlink()
