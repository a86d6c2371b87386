"""Proof that every video has every row that it should, and every file is what was written."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import StoreError, UsageError
from engine.storage.catalog import Catalog
from engine.storage.durable import checksum
from engine.storage.embeddings import check_unit, vectors_of
from engine.storage.files import Files
from engine.storage.ledger import Part, row_ids_of
from engine.storage.records import StoredSpace, Video


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be; `kind` is one word, `message` one line."""

    video_id: int | None
    kind: str  # missing, damaged, incomplete, stray or index
    message: str


def verify_video(catalog: Catalog, files: Files, root: Path, video: Video) -> Iterator[Problem]:
    """Yield what is wrong with one video: its segments, its rows, its files."""
    for space in catalog.spaces():
        seen = files.ledger.seen(space.space_id, video.video_id)
        row_ids = seen.column("row_id").to_numpy()
        yield from _segments(catalog, video, space, row_ids)
        held: dict[int, list[int]] = {}
        for row_id, part_id in zip(row_ids, seen.column("part_id").to_numpy(), strict=True):
            held.setdefault(int(part_id), []).append(int(row_id))
        for part in files.ledger.parts(video_id=video.video_id, space_id=space.space_id):
            wanted = np.array(held.pop(part.part_id, []), np.int64)
            yield from _part(files, root, part, wanted)
        for part_id, lost in held.items():
            text = f"{video.name}: {len(lost)} rows lie in part {part_id}, which is not recorded"
            yield Problem(video.video_id, "missing", text)


def verify_folder(catalog: Catalog, files: Files, root: Path) -> Iterator[Problem]:
    """Yield what is wrong beside the videos: files that nothing names, damaged indexes."""
    for path in files.strays():
        yield Problem(None, "stray", f"the catalog does not know the file {path}")
    for space in catalog.spaces():
        saved = files.ledger.index(space.space_id)
        if saved is None:
            continue
        file = root / saved.path
        if not file.exists() or checksum(file) != saved.checksum:
            text = f"the index of space {space.key} is damaged or gone; run `index build`"
            yield Problem(None, "index", text)


def _segments(
    catalog: Catalog, video: Video, space: StoredSpace, row_ids: np.ndarray
) -> Iterator[Problem]:
    segments = catalog.segments(video.video_id, space.key)
    name = f"{video.name} in space {space.key}"
    if len(np.unique(row_ids)) < len(row_ids):
        yield Problem(video.video_id, "damaged", f"{name}: a frame is seen twice")
    if segments and not any(segment.num_frames is not None for segment in segments):
        text = f"{name}: not finished, {len(row_ids)} rows so far; ingest it again"
        yield Problem(video.video_id, "incomplete", text)
    promised = max((s.num_frames or 0 for s in segments if s.shown), default=0)
    if len(row_ids) < promised:
        text = f"{name}: {promised - len(row_ids)} of {promised} rows are missing; ingest it again"
        yield Problem(video.video_id, "missing", text)
    current = catalog.current_space()
    if not segments and video.status == "ready" and current is not None and current == space:
        yield Problem(video.video_id, "incomplete", f"{name}: not embedded; ingest it again")


def _part(files: Files, root: Path, part: Part, wanted: np.ndarray) -> Iterator[Problem]:
    path = root / part.path
    if not path.exists():
        yield Problem(part.video_id, "missing", f"the file {part.path} is gone; ingest again")
        return
    if checksum(path) != part.checksum:
        text = f"the file {part.path} is not what was written; ingest again"
        yield Problem(part.video_id, "damaged", text)
        return
    try:
        table = files.read(part)
        check_unit(vectors_of(table))
    except (StoreError, UsageError) as error:
        yield Problem(part.video_id, "damaged", f"the file {part.path}: {error}")
        return
    own = row_ids_of(part.video_id, table.column("frame").to_numpy())
    lost = int((~np.isin(wanted, own)).sum())
    if lost or len(table) != part.num_rows:
        text = f"the file {part.path} has {len(table)} of {part.num_rows} rows, {lost} are missed"
        yield Problem(part.video_id, "missing", text)
