"""Compaction: overlays and small parts of a video folded into few large ones."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from engine.storage.durable import Reached
from engine.storage.files import Files
from engine.storage.ledger import Part, SegmentKey, row_ids_of

FULL_ROWS = 32_768  # a part with so many rows is not made larger
MAX_OVERLAYS = 32  # of one video, before they are folded without being asked


def compact(files: Files, space_id: int, reached: Reached) -> int:
    """Fold the parts of every video of a space; return how many files that saves."""
    videos = {part.video_id for part in files.ledger.parts(space_id=space_id)}
    return sum(compact_video(files, space_id, video_id, reached) for video_id in sorted(videos))


def compact_video(files: Files, space_id: int, video_id: int, reached: Reached) -> int:
    """Fold the parts of one video that queries see; return how many files that saves."""
    shown = files.ledger.shown_sampling(video_id, space_id)
    parts = files.ledger.parts(video_id=video_id, space_id=space_id)
    seen = files.ledger.seen(space_id, video_id)
    return _fold(files, [part for part in parts if part.sampling == shown], seen, reached)


def wants_compaction(files: Files, space_id: int, video_id: int) -> bool:
    """Overlays, of which each refined query may add one, have become many."""
    parts = files.ledger.parts(video_id=video_id, space_id=space_id)
    return sum(part.kind == "overlay" for part in parts) > MAX_OVERLAYS


def _fold(files: Files, parts: Sequence[Part], seen: pa.Table, reached: Reached) -> int:
    """Write the seen rows of parts that are small or partly unseen into new ones.

    Nothing is done where all rows are seen and the number of files would stay the same.
    """
    holder, row_ids = seen.column("part_id").to_numpy(), seen.column("row_id").to_numpy()
    rows_of = {
        part.part_id: row_ids[slice(*np.searchsorted(holder, (part.part_id, part.part_id + 1)))]
        for part in parts
    }
    old = [p for p in parts if p.num_rows < FULL_ROWS or len(rows_of[p.part_id]) < p.num_rows]
    unseen = sum(part.num_rows - len(rows_of[part.part_id]) for part in old)
    kept = np.sort(np.concatenate([np.empty(0, np.int64), *(rows_of[p.part_id] for p in old)]))
    chunks = [kept[start : start + FULL_ROWS] for start in range(0, len(kept), FULL_ROWS)]
    if not unseen and len(chunks) >= len(old):
        return 0
    new = []
    for chunk in chunks:
        wanted = {p: np.intersect1d(rows_of[p.part_id], chunk) for p in old}
        pieces = [_rows(files, part, chosen) for part, chosen in wanted.items() if len(chosen)]
        table = pa.concat_tables(pieces).sort_by("frame")
        key = SegmentKey(old[0].video_id, old[0].space_id, old[0].sampling, "")
        new.append((files.publish(table, key, "compacted"), table.column("frame").to_numpy()))
    files.ledger.commit_compaction(old, new)
    reached("compacted: committed")
    files.discard(old)
    return len(old) - len(new)


def _rows(files: Files, part: Part, chosen: np.ndarray) -> pa.Table:
    table = files.read(part)
    own = row_ids_of(part.video_id, table.column("frame").to_numpy())
    return table.filter(pa.array(np.isin(own, chosen)))
