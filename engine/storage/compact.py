"""Compaction: overlays and small parts, of one video or of many, folded into few large ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from time import sleep

import numpy as np
import pyarrow as pa

from engine.storage import row_id
from engine.storage.changes import row_ids_of
from engine.storage.durable import Reached
from engine.storage.files import Files
from engine.storage.parts import FORMAT
from engine.storage.records import Holding, Part

FULL_ROWS = 32_768  # a part with so many rows is not made larger
MAX_OVERLAYS = 32  # of one video, before they are folded without being asked
LEAST_SEEN = 0.5  # a large part of which less is seen is written anew
_BREATH_SECONDS = 0.005  # between groups, so that who waits for the lock gets it


def compact(
    files: Files, space_id: int, reached: Reached, stopped: Callable[[], bool] = lambda: False
) -> int:
    """Fold the parts of a space that queries see; return how many files that saves.

    Parts of several videos are joined, so that the number of files follows that of the rows. The
    writers' lock is taken for one group of parts at a time: others write in between. Once `stopped`
    no further group is begun.
    """
    saved = 0
    for group in list(_foldable(files, files.ledger.shown_parts(space_id), space_id)):
        if stopped():
            break
        saved += _fold_group(files, group, space_id, reached)
        sleep(_BREATH_SECONDS)
    return saved


def savable(files: Files, space_id: int) -> int:
    """Return about how many files folding would save, by what the catalog says of their sizes."""
    small = [p.num_rows for p in files.ledger.shown_parts(space_id) if p.num_rows < FULL_ROWS]
    return max(len(small) - 1 - sum(small) // FULL_ROWS, 0)


def compact_video(files: Files, space_id: int, video_id: int, reached: Reached) -> int:
    """Fold the parts that hold rows of one video alone."""
    own = files.ledger.parts(video_id=video_id, space_id=space_id)
    shown = set(files.ledger.shown_parts(space_id))
    chosen = [part for part in own if part in shown and files.videos_of(part) == {video_id}]
    groups = list(_foldable(files, chosen, space_id))
    return sum(_fold_group(files, group, space_id, reached) for group in groups)


def wants_compaction(files: Files, space_id: int, video_id: int) -> bool:
    """Overlays, of which each refined query may add one, have become many."""
    parts = files.ledger.parts(video_id=video_id, space_id=space_id)
    return sum(part.kind == "overlay" for part in parts) > MAX_OVERLAYS


def _foldable(files: Files, parts: Sequence[Part], space_id: int) -> Iterator[list[Part]]:
    """Yield the parts that are small or mostly unseen, in groups that become one part."""
    seen = _seen(parts, files.ledger.seen(space_id))
    old = [part for part in parts if _wants_folding(part, len(seen[part.part_id]))]
    yield from (group for group in _groups(old, seen) if _is_worth_it(group, seen))


def _seen(parts: Sequence[Part], table: pa.Table) -> dict[int, row_id.Ids]:
    """Return the rows that are seen from each part."""
    holder, row_ids = table.column("part_id").to_numpy(), table.column("row_id").to_numpy()
    return {
        part.part_id: row_ids[slice(*np.searchsorted(holder, (part.part_id, part.part_id + 1)))]
        for part in parts
    }


def _wants_folding(part: Part, seen: int) -> bool:
    return part.num_rows < FULL_ROWS or seen < LEAST_SEEN * part.num_rows or part.format < FORMAT


def _is_worth_it(group: Sequence[Part], seen: Mapping[int, row_id.Ids]) -> bool:
    """A file is saved, rows that nobody sees go, or a part gets a footer."""
    unseen = any(len(seen[part.part_id]) < part.num_rows for part in group)
    return len(group) > 1 or unseen or any(part.format < FORMAT for part in group)


def _groups(old: Sequence[Part], seen: Mapping[int, row_id.Ids]) -> Iterator[list[Part]]:
    """Yield the parts that become one file; those of one video lie side by side."""

    def place(part: Part) -> tuple[int, int]:
        ids = seen[part.part_id]
        return (int(ids[0]) if len(ids) else -1, part.part_id)

    group: list[Part] = []
    rows = 0
    for part in sorted(old, key=place):
        count = len(seen[part.part_id])
        if group and rows + count > FULL_ROWS:
            yield group
            group, rows = [], 0
        group.append(part)
        rows += count
    if group:
        yield group


def _fold_group(files: Files, group: Sequence[Part], space_id: int, reached: Reached) -> int:
    """Write one part for several; what others have replaced meanwhile, or is damaged, is left."""
    read = ((part.part_id, files.readable(part)) for part in group)
    tables = {part_id: table for part_id, table in read if table is not None}
    with files.writing:
        shown = {part.part_id for part in files.ledger.shown_parts(space_id)}
        old = [part for part in group if part.part_id in shown and part.part_id in tables]
        seen = _seen(old, files.ledger.seen_in(space_id, [part.part_id for part in old]))
        if not _is_worth_it(old, seen):
            return 0
        pieces = []
        for part in old:
            table = tables[part.part_id]
            pieces.append(table.filter(pa.array(np.isin(row_ids_of(table), seen[part.part_id]))))
        return _replace(files, old, pa.concat_tables(pieces), reached)


def _replace(files: Files, old: Sequence[Part], rows: pa.Table, reached: Reached) -> int:
    """Let one new part hold the rows that several held; return how many files that saves."""
    held = files.ledger.holdings([part.part_id for part in old])
    table = rows.sort_by([("video_id", "ascending"), ("frame", "ascending")])
    holdings = _merged([item for part in old for item in held[part.part_id]], table)
    new = []
    if len(table):
        part = files.publish(lambda: table, old[0].space_id, "compacted", holdings)
        new.append((part, holdings, row_ids_of(table)))
    files.ledger.commit_compaction(old, new)
    reached("compacted: committed")
    return len(old) - len(new)


def _merged(held: Sequence[Holding], table: pa.Table) -> list[Holding]:
    """Return what a part holds that takes the place of others: each stretch once.

    An overlay's holding goes where a stretch of its video is held as well.
    """
    present = set(table.column("video_id").unique().to_pylist())
    unique = [item for item in dict.fromkeys(held) if item.video_id in present]
    whole = {item.video_id for item in unique if item.stretch is not None}
    return [i for i in unique if i.stretch is not None or i.video_id not in whole]
