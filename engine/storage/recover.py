"""What an interrupted run left: its temporary files go, its finished parts are taken in.

Nothing else is ever deleted. Parts are numbered in the order in which they are written, so only the
last folders of a space can hold one that the catalog does not know, unless files were copied about.
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from engine.errors import StoreError
from engine.storage.adopt import Adoption, StrangerError
from engine.storage.database import Database
from engine.storage.durable import set_aside
from engine.storage.files import Files
from engine.storage.layout import Layout
from engine.storage.parts import DamagedPartError, Footer, parse_part
from engine.storage.transcripts import Transcripts

_log = logging.getLogger(__name__)
_DIGITS = 10


@dataclass(slots=True)
class Recovered:
    """What became of the files that the catalog did not know."""

    taken_in: list[str]
    set_aside: list[str]


def recover_last(layout: Layout, database: Database, files: Files) -> None:
    """Take in what the last run had finished but not recorded; refuse parts of unknown videos."""
    last = database.one("SELECT last_value FROM duckdb_sequences() WHERE sequence_name='file_ids'")
    since = 0 if last is None or last[0] is None else int(last[0])
    for path in _temporaries(layout, since):
        path.unlink()
    rmtree(layout.drafts, ignore_errors=True)  # of an ingest that has ended
    adoption = Adoption(layout, database, files, creates=False)
    transcripts = Transcripts(layout, database, lambda _: None)
    strangers: list[str] = []
    unknown = list(unknown_files(layout, files, since))
    if unknown:
        files.ledger.commit_numbers("file_ids", max(int(path.stem) for path in unknown))
    for path in unknown:
        relative = layout.relative(path)
        if path.suffix == ".faiss":
            path.unlink()  # derived from the parts
            continue
        try:
            if path.is_relative_to(layout.transcripts):
                _take_lines(transcripts, layout, path)
            else:
                adoption.take_in(path, *parse_part(path))
            _log.warning("took in %s, which was finished but not on record", relative)
        except DamagedPartError as error:
            set_aside(path, layout.lost_and_found)
            _log.warning("moved to lost+found: %s", error)
        except StrangerError as error:
            strangers.append(str(error))
    if strangers:
        raise StoreError(
            f"{len(strangers)} finished parts in {layout.parts} are not in the catalog, nor is"
            f" what they are of ({strangers[0]}): it is older than they are, or its log is lost;"
            f" dejavu-engine store repair --data {layout.root} takes them in"
        )


def recover_all(layout: Layout, database: Database, files: Files) -> tuple[Recovered, Adoption]:
    """Take in every part that can be, with its video; set aside what cannot."""
    adoption = Adoption(layout, database, files, creates=True)
    recovered = Recovered([], [])
    for path in _temporaries(layout, 0):
        path.unlink()
    parts: list[tuple[Path, Footer]] = []
    said: list[Path] = []
    for path in unknown_files(layout, files, 0):
        if path.suffix == ".faiss":
            path.unlink()
            continue
        if path.is_relative_to(layout.transcripts):
            said.append(path)
            continue
        try:
            parts.append((path, parse_part(path)[0]))
        except DamagedPartError as error:
            set_aside(path, layout.lost_and_found)
            recovered.set_aside.append(str(error))
    adoption.reserve([footer for _, footer in parts])
    for path, footer in sorted(parts, key=lambda item: item[1].part_id):
        adoption.take_in(path, footer, parse_part(path)[1])
        recovered.taken_in.append(layout.relative(path))
    files.ledger.commit_numbers("file_ids", max((int(path.stem) for path in said), default=0))
    transcripts = Transcripts(layout, database, lambda _: None)
    for path in said:  # once their videos are there
        try:
            _take_lines(transcripts, layout, path)
            recovered.taken_in.append(layout.relative(path))
        except DamagedPartError as error:
            set_aside(path, layout.lost_and_found)
            recovered.set_aside.append(str(error))
    return recovered, adoption


def _take_lines(transcripts: Transcripts, layout: Layout, path: Path) -> None:
    """Let the catalog know a file of lines; DamagedPartError where they are of no use to it."""
    if not transcripts.take_in(path):
        raise DamagedPartError(f"{layout.relative(path)} has lines that nothing here needs")


def unknown_files(layout: Layout, files: Files, since: int) -> Iterator[Path]:
    """Yield the files of ours from a number on that the catalog does not know, in their order."""
    known = files.ledger.paths()
    found = [
        path
        for folder in (layout.parts, layout.indexes, layout.transcripts)
        for path in _files(folder, since)
        if is_ours(path) and layout.relative(path) not in known
    ]
    yield from sorted(found, key=lambda path: path.name)


def stray_files(layout: Layout, files: Files) -> Iterator[Path]:
    """Yield every file below our folders that the catalog does not know, ours or not."""
    known = files.ledger.paths()
    for folder in (layout.parts, layout.indexes, layout.transcripts):
        for path in _files(folder, 0):
            if layout.relative(path) not in known and not is_temporary(path):
                yield path


def _temporaries(layout: Layout, since: int) -> Iterator[Path]:
    """Yield what was being written when a process ended."""
    for folder in (layout.parts, layout.indexes, layout.transcripts, layout.published):
        yield from (path for path in _files(folder, since) if is_temporary(path))


def is_temporary(path: Path) -> bool:
    """Whether a file has the name of one that was being written."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def is_ours(path: Path) -> bool:
    """Whether a file has the name of a part or an index."""
    return (
        _is_number(path.stem)
        and len(path.stem) == _DIGITS
        and path.suffix in (".parquet", ".faiss")
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _files(folder: Path, since: int) -> Iterator[Path]:
    """Yield the files below a folder, leaving out folders of parts that all came before."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if not entry.is_dir(follow_symlinks=False):
                yield path
            elif not (since and _came_before(path, since)):
                yield from _files(path, since)


def _came_before(folder: Path, since: int) -> bool:
    """Whether `parts/<space>/<thousand>` or `transcripts/<thousand>` has nothing from a number on.

    Those of format 1, a folder for each video, have a shorter name and never grow.
    """
    above = folder.parent
    ours = above.parent.name == "parts" or above.name == "transcripts"
    if not ours or not _is_number(folder.name):
        return False
    return len(folder.name) < 6 or int(folder.name) < since // 1000
