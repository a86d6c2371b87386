"""The part files: published, read, discarded, and swept after a crash."""

import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from engine.errors import StoreError
from engine.storage.durable import Reached, checksum, publish
from engine.storage.embeddings import read_part, vectors_of, write_part
from engine.storage.layout import Layout
from engine.storage.ledger import Ledger, Part, SegmentKey, row_ids_of

_log = logging.getLogger(__name__)


class Files:
    """The files below one data folder, as the ledger knows them."""

    def __init__(self, layout: Layout, ledger: Ledger, reached: Reached) -> None:
        self._layout = layout
        self.ledger = ledger
        self._reached = reached

    def publish(self, table: pa.Table, key: SegmentKey, kind: str) -> Part:
        """Write a part for good; it counts once a ledger commit names it."""
        part_id = self.ledger.draw("file_ids")
        path = self._layout.part(key.space_id, key.video_id, part_id)
        publish(path, lambda file: write_part(table, file), what=kind, reached=self._reached)
        return Part(
            part_id,
            key.video_id,
            key.space_id,
            key.sampling,
            kind,
            self._layout.relative(path),
            len(table),
            path.stat().st_size,
            checksum(path),
        )

    def read(self, part: Part, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a part."""
        return read_part(self._layout.root / part.path, columns)

    def vectors(self, space_id: int, seen: pa.Table) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield row ids and float16 vectors of rows (`row_id`, `part_id`, by part) file by file."""
        row_ids = seen.column("row_id").to_numpy()
        part_ids, starts = np.unique(seen.column("part_id").to_numpy(), return_index=True)
        parts = {part.part_id: part for part in self.ledger.parts(space_id=space_id)}
        stops = [*starts[1:], len(row_ids)]
        for part_id, start, stop in zip(part_ids, starts, stops, strict=False):
            part, wanted = parts[int(part_id)], row_ids[start:stop]
            table = self.read(part, ["frame", "embedding"])
            own = row_ids_of(part.video_id, table.column("frame").to_numpy())
            here = np.isin(own, wanted)
            if int(here.sum()) != len(wanted):
                raise StoreError(f"the part {part.path} lacks rows that the catalog says it has")
            yield own[here], vectors_of(table)[here]

    def discard(self, parts: Iterable[Part]) -> None:
        """Delete the files of parts that the ledger no longer names."""
        for part in parts:
            (self._layout.root / part.path).unlink(missing_ok=True)

    def discard_videos(self, video_ids: Iterable[int]) -> None:
        """Delete the files of videos that are gone."""
        for video_id in video_ids:
            for folder in self._layout.parts.glob(f"*/{video_id}"):
                shutil.rmtree(folder)
            shutil.rmtree(self._layout.clips / str(video_id), ignore_errors=True)

    def sweep(self) -> int:
        """Delete what an unfinished run left: every file that the ledger does not name."""
        strays = self.strays()
        for path in strays:
            (self._layout.root / path).unlink()
        if strays:
            _log.info("swept %d leftovers of an unfinished run", len(strays))
        return len(strays)

    def strays(self) -> list[str]:
        """Return the files among parts and indexes that the ledger does not name."""
        known = self.ledger.paths()
        found = (
            self._layout.relative(path)
            for folder in (self._layout.parts, self._layout.indexes)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        )
        return [path for path in found if path not in known]
