"""Parts that another process writes: what it is told before, and what it tells when they lie there.

The writing process of a store gives out a `Blank`; whoever has the rows writes them, durably, to
the blank's draft. A draft counts for nothing: the store alone gives it its name and commits it.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from engine.errors import StoreError
from engine.storage.durable import checksum, draft, sync
from engine.storage.embeddings import Rows, to_table
from engine.storage.parts import FORMAT, Contents, Footer, rows_digest, write_part
from engine.storage.records import SegmentKey
from engine.storage.sampling import Sampling

KIND = "stretch"


@dataclass(frozen=True, slots=True)
class Blank:
    """A part of one stretch that is to be written: all that it says but what its rows are."""

    video_id: int
    space_id: int
    sampling: Sampling
    part_id: int
    path: Path  # that it has once it is committed
    draft: Path  # that it is written to
    space: dict[str, Any]
    contents: Contents  # with one piece, of no rows and no strategy yet


@dataclass(frozen=True, slots=True)
class WrittenPart:
    """A draft that lies there whole; without rows there is none."""

    blank: Blank
    strategy: str
    rows: pa.Table  # without their vectors
    size_bytes: int
    checksum: str

    @property
    def key(self) -> SegmentKey:
        """The segment that it belongs to."""
        blank = self.blank
        return SegmentKey(blank.video_id, blank.space_id, blank.sampling, self.strategy)

    @property
    def stretch(self) -> tuple[int, float, float]:
        """Its number, and when it begins and ends."""
        [piece] = self.blank.contents.pieces
        return piece.stretch, piece.start_seconds, piece.stop_seconds

    @property
    def frame(self) -> np.ndarray:
        """Numbers of its frames."""
        return self.rows.column("frame").to_numpy()

    @property
    def reuse_rate(self) -> np.ndarray:
        """Share of tokens reused, of each row."""
        return self.rows.column("reuse_rate").to_numpy()

    @property
    def drift(self) -> np.ndarray:
        """Drift of each row, NaN where it was not estimated."""
        return self.rows.column("drift").to_numpy()


def write_draft(blank: Blank, rows: Rows, strategy: str) -> WrittenPart:
    """Write rows to a blank's draft; on return they are on disk."""
    table = to_table(rows, blank.video_id, strategy)
    told = table.drop_columns(["embedding"])
    if not len(table):
        return WrittenPart(blank, strategy, told, 0, "")
    contents = blank.contents
    [piece] = contents.pieces
    planned = None if contents.planned is None else contents.planned + len(table)
    whole = replace(piece, strategy=strategy, num_frames=len(table))
    own = replace(contents, pieces=(whole,), planned=planned)
    footer = Footer(FORMAT, blank.part_id, KIND, blank.space, (own,), rows_digest(table))
    if not blank.draft.parent.is_dir():
        raise StoreError(f"cannot write {blank.draft}: its store was opened by another ingest")
    draft(blank.path, blank.draft, lambda file: write_part(table, lambda: footer, file))
    sync(blank.draft)
    return WrittenPart(blank, strategy, told, blank.draft.stat().st_size, checksum(blank.draft))
