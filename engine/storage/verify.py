"""Proof that every video has every row that it should, and every file is what was written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic

import numpy as np

from engine.errors import StoreError, UsageError
from engine.storage.catalog import Catalog
from engine.storage.changes import row_ids_of
from engine.storage.completeness import completeness
from engine.storage.database import Database
from engine.storage.durable import checksum
from engine.storage.embeddings import check_unit, vectors_of
from engine.storage.files import Files
from engine.storage.layout import Layout
from engine.storage.parts import DamagedPartError
from engine.storage.records import Part, StoredSpace
from engine.storage.recover import stray_files
from engine.storage.transcripts import Transcripts

_TAKE_IN = "`store repair` takes it in or sets it aside"


@dataclass(frozen=True, slots=True)
class StoreProblem:
    """Something that is not as it should be; `kind` is one word, `message` one line."""

    video_id: int | None
    kind: str  # missing, damaged, incomplete, stray or index
    message: str


@dataclass(slots=True)
class PartsRead:
    """Of how many parts all was read; of the others only whether they are there, and their size."""

    parts: int = 0
    read: int = 0


def verify_videos(
    catalog: Catalog, database: Database, video_ids: Sequence[int] | None
) -> Iterator[StoreProblem]:
    """Yield the videos that lack rows, in any space that has some of theirs or is in use.

    A writer may go on meanwhile: nothing is locked.
    """
    current, spaces = catalog.current_space(), catalog.spaces()
    without = dict[int, int]()  # in how many spaces a video has no rows
    for space in spaces:
        for found in completeness(database, space.space_id, video_ids=video_ids):
            without[found.video_id] = without.get(found.video_id, 0) + (found.state == "none")
            if found.state == "partial" or (found.state == "none" and space == current):
                kind = "missing" if found.planned is not None else "incomplete"
                text = f"{found.name} in space {space.key}: {found.reason}"
                yield StoreProblem(found.video_id, kind, text)
        yield from _twice(database, space, video_ids)
    if current is None:
        yield from _nowhere(catalog, video_ids, {v for v, n in without.items() if n < len(spaces)})


def _nowhere(
    catalog: Catalog, video_ids: Sequence[int] | None, somewhere: set[int]
) -> Iterator[StoreProblem]:
    """Yield the videos that were embedded once and have no rows in any space."""
    for video in catalog.videos():
        chosen = video_ids is None or video.video_id in video_ids
        if chosen and video.status in ("ready", "ingesting") and video.video_id not in somewhere:
            text = f"{video.name}: no rows in any space; ingest it again"
            yield StoreProblem(video.video_id, "incomplete", text)


def _twice(
    database: Database, space: StoredSpace, video_ids: Sequence[int] | None
) -> Iterator[StoreProblem]:
    rows = database.all(
        "SELECT video_id, count(*) FROM (SELECT video_id FROM stored_frames WHERE space_id = ?"
        " GROUP BY video_id, row_id HAVING count(*) > 1) GROUP BY video_id",
        [space.space_id],
    )
    for video_id, count in rows:
        if video_ids is None or video_id in video_ids:
            text = f"video {video_id} in space {space.key}: {count} frames are seen twice"
            yield StoreProblem(video_id, "damaged", text)


def verify_parts(
    files: Files,
    root: Path,
    video_id: int | None,
    until: float = inf,
    told: PartsRead | None = None,
) -> Iterator[StoreProblem]:
    """Yield the part files that are not what was written, or lack rows that are seen from them.

    After the moment `until` (of `monotonic`) only what can be told without reading them; `told`
    counts what was read.
    """
    parts, told = files.ledger.parts(video_id=video_id), told or PartsRead()
    told.parts, told.read = len(parts), 0
    held = files.ledger.holdings(None if video_id is None else [part.part_id for part in parts])
    for space_id in sorted({part.space_id for part in parts}):
        seen = files.ledger.seen(space_id)
        holder, row_ids = seen.column("part_id").to_numpy(), seen.column("row_id").to_numpy()
        for part in (part for part in parts if part.space_id == space_id):
            path = root / part.path
            if monotonic() > until and path.exists() and path.stat().st_size == part.size_bytes:
                continue
            told.read += 1
            own = slice(*np.searchsorted(holder, (part.part_id, part.part_id + 1)))
            problem = _part(files, path, part, row_ids[own])
            if problem is not None and files.ledger.has(part):  # else a writer has replaced it
                videos = {item.video_id for item in held.get(part.part_id, [])}
                yield StoreProblem(videos.pop() if len(videos) == 1 else None, *problem)
    for part_id, space_id, lost in files.ledger.rows_without_part():
        text = f"{lost} rows of space {space_id} lie in part {part_id}, which is not recorded"
        yield StoreProblem(None, "missing", text)


def _part(files: Files, path: Path, part: Part, wanted: np.ndarray) -> tuple[str, str] | None:
    """Return what is wrong with a part: a word and a line."""
    if not path.exists():
        return "missing", f"the file {part.path} is gone; ingest again"
    try:
        table = files.read_afresh(part)
        check_unit(vectors_of(table))
    except DamagedPartError as error:
        return "damaged", f"the file {error}; ingest again"
    except (StoreError, UsageError) as error:
        return "damaged", f"the file {part.path}: {error}"
    lost = int((~np.isin(wanted, row_ids_of(table))).sum())
    if lost or len(table) != part.num_rows:
        text = f"the file {part.path} has {len(table)} of {part.num_rows} rows, {lost} are missed"
        return "missing", text
    return None


def verify_transcripts(transcripts: Transcripts, video_id: int | None) -> Iterator[StoreProblem]:
    """Yield the files of lines that are not what was written."""
    for part in transcripts.listed(None if video_id is None else [video_id]):
        try:
            transcripts.read(part, afresh=True)
        except DamagedPartError as error:
            if part in transcripts.listed([part.video_id]):  # else a writer has replaced it
                kind = "missing" if "is gone" in str(error) else "damaged"
                text = f"the transcript {error}; `transcripts scan` reads its source again"
                yield StoreProblem(part.video_id, kind, text)


def verify_folder(
    catalog: Catalog, files: Files, layout: Layout, *, strays: bool
) -> Iterator[StoreProblem]:
    """Yield what is wrong beside the videos: damaged indexes and `strays`, which nothing names.

    Beside a writer nobody can tell which files it is about to name.
    """
    for path in stray_files(layout, files) if strays else ():
        if path.exists() and layout.relative(path) not in files.ledger.paths():
            text = f"the catalog does not know the file {layout.relative(path)}; {_TAKE_IN}"
            yield StoreProblem(None, "stray", text)
    for space in catalog.spaces():
        saved = files.ledger.index(space.space_id)
        if saved is None:
            continue
        file = layout.root / saved.path
        if not file.exists() or checksum(file) != saved.checksum:
            text = f"the index of space {space.key} is damaged or gone; run `index build`"
            yield StoreProblem(None, "index", text)
