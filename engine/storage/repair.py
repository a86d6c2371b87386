"""`store repair`: the catalog made to fit the files, from whatever of it is left."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import StoreError
from engine.storage.database import Database, FormatError
from engine.storage.durable import make_folder, set_aside
from engine.storage.files import Files
from engine.storage.layout import Layout
from engine.storage.lock import Lock
from engine.storage.notes import set_damaged_notes_aside, take_notes
from engine.storage.parts import DamagedPartError
from engine.storage.publishing import copy_damage, is_published, newest_copy, publish_copy
from engine.storage.recover import recover_all, stray_files
from engine.storage.restoring import must_be_finished
from engine.storage.transcripts import Transcripts

_log = logging.getLogger(__name__)
_FROM_PARTS = "from the parts alone"


@dataclass(slots=True)
class Repair:
    """What `store repair` did; `catalog` says what it started from."""

    catalog: str = "kept"  # or: from the published copy, from the parts alone
    taken_in: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)
    condemned: list[str] = field(default_factory=list)  # parts whose rows an ingest embeds anew
    lost: list[str] = field(default_factory=list)  # what nothing could give back
    published: bool = False  # whether what readers see was not what the catalog has

    @property
    def changed(self) -> bool:
        """Whether anything was to be repaired."""
        return self != Repair()


def repair(root: Path) -> Repair:
    """Bring a folder into order: nothing is deleted, what does not fit goes to `lost+found/`."""
    layout = Layout(root.absolute())
    if not layout.root.is_dir():
        raise StoreError(f"no data folder {root}")
    must_be_finished(layout)
    lock = Lock(layout.root)
    try:
        report = Repair(published=not is_published(layout))
        database = _open_catalog(layout, report)
        try:
            report.lost += [database.lost] if database.lost else []
            _repair_files(layout, database, report)
            report.set_aside += _damage_beside(layout)
            if report.catalog == _FROM_PARTS:
                report.set_aside += take_notes(layout, database)
            report.published &= publish_copy(layout, database, lambda _: None)
        finally:
            database.close()
    finally:
        lock.release()
    return report


def _open_catalog(layout: Layout, report: Repair) -> Database:
    """Return the catalog, or the copy that was published last, or an empty one.

    One of a later format is not damaged: that is refused, and nothing is touched.
    """
    if layout.catalog.exists():
        try:
            return _sound(layout.catalog)
        except FormatError:
            raise
        except StoreError as error:
            report.set_aside.append(str(error).partition(";")[0])
            for path in (layout.catalog, layout.catalog_log):
                if path.exists():
                    set_aside(path, layout.lost_and_found)
    elif layout.catalog_log.exists():
        set_aside(layout.catalog_log, layout.lost_and_found)
    copy = newest_copy(layout)
    if copy is not None:
        layout.catalog.write_bytes(copy.read_bytes())
        try:
            report.catalog = f"from the published copy {copy.name}"
            return _sound(layout.catalog)
        except FormatError:
            layout.catalog.unlink()
            raise
        except StoreError as error:
            report.set_aside.append(str(error).partition(";")[0])
            set_aside(layout.catalog, layout.lost_and_found)
            set_aside(copy, layout.lost_and_found)
    report.catalog = _FROM_PARTS
    make_folder(layout.root)
    return Database(layout.catalog)


def _damage_beside(layout: Layout) -> list[str]:
    """Set aside the published copy and the notes where they are not what was written."""
    damage, copy = copy_damage(layout), newest_copy(layout)
    if damage is None or copy is None:
        return set_damaged_notes_aside(layout)
    kept = set_aside(copy, layout.lost_and_found)
    damage += f"; it is kept as {layout.relative(kept)}"
    return [damage, *set_damaged_notes_aside(layout)]


def _sound(path: Path) -> Database:
    """Open a catalog of which every block can be read."""
    database = Database(path)
    try:
        database.read_everything()
    except StoreError:
        database.close()
        raise
    return database


def _repair_files(layout: Layout, database: Database, report: Repair) -> None:
    files = Files(layout, database, lambda _: None)
    recovered, adoption = recover_all(layout, database, files)
    report.taken_in += recovered.taken_in
    report.set_aside += recovered.set_aside
    for path in list(stray_files(layout, files)):
        report.set_aside.append(f"{layout.relative(path)} is not ours")
        set_aside(path, layout.lost_and_found)
    for part in files.ledger.parts():
        if not files.ledger.has(part):
            continue  # condemned with one before it
        try:
            files.read_afresh(part)
        except DamagedPartError as error:
            report.condemned.append(str(error))
            files.condemn(part, str(error))
    transcripts = Transcripts(layout, database, lambda _: None)
    for said in transcripts.listed():
        try:
            transcripts.read(said)
        except DamagedPartError as error:
            report.condemned.append(str(error))
            transcripts.condemn(said, str(error))
    adoption.settle()
