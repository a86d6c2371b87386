"""Scan: the rows of a table of the catalog."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from engine.caller import sees_folders
from engine.errors import ExecutionError
from engine.operators.base import Context
from engine.operators.filter import Filter, keep_rows
from engine.operators.frame_rows import FrameRows, Stored, batches_of
from engine.storage.recorded_times import RecordedTimes

_TIMES = {"start_at": "start_seconds", "stop_at": "stop_seconds"}


@dataclass(frozen=True, slots=True)
class Scan:
    """Read a relation as it was at the statement's moment; of `frames`, those of its space."""

    relation: Literal["videos", "gops", "frames", "clips", "transcript"]
    columns: pa.Schema
    predicates: Sequence[str] = ()

    @property
    def schema(self) -> pa.Schema:
        """The relation's columns."""
        return self.columns

    @property
    def gives_frames(self) -> bool:
        """Whether it is frames that are read."""
        return self.relation == "frames"

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Read the columns, then yield the rows that pass."""
        if self.gives_frames:
            yield from batches_of(self, context)
        else:
            yield from self._read(context).to_batches(context.batch_rows)

    def frame_rows(self, context: Context) -> FrameRows:
        """Say where the frames that pass lie."""
        stored = Stored(FrameRows(context.reading.view.frames), self.columns)
        return Filter(stored, self.predicates).frame_rows(context)

    def _read(self, context: Context) -> pa.Table:
        view = context.reading.view
        if self.relation == "clips":
            return keep_rows(context.actions().clips(view.gops), self.predicates, context)
        if self.relation == "transcript":
            said = context.words().table
            here = pc.is_in(said.column("video_id"), view.videos.column("video_id"))
            return keep_rows(said.filter(here), self.predicates, context)
        rows = view.videos if self.relation == "videos" else view.gops
        rows = as_caller_sees(rows) if self.relation == "videos" else rows
        if self.relation == "gops":
            rows = self._timed(rows, view.frames.recorded)
        gone = [name for name in self.columns.names if name not in rows.schema.names]
        if gone:
            raise ExecutionError(f"column {gone[0]} was dropped meanwhile", operator="Scan")
        rows = rows.select(self.columns.names).cast(self.columns)
        return keep_rows(rows, self.predicates, context)

    def _timed(self, gops: pa.Table, recorded: RecordedTimes) -> pa.Table:
        """Add the instants that are asked for, null where it is not known of a video."""
        for name in [name for name in _TIMES if name in self.columns.names]:
            videos, seconds = (gops.column(each).to_numpy() for each in ("video_id", _TIMES[name]))
            gops = gops.append_column(name, recorded.at(videos, seconds))
        return gops


def as_caller_sees(videos: pa.Table) -> pa.Table:
    """Return videos without the folders that files lie in, where the caller may not see them."""
    if sees_folders():
        return videos
    for hidden, shown in (("path", "name"), ("folder", "folder_in_name")):
        videos = videos.set_column(videos.schema.get_field_index(hidden), hidden, videos[shown])
    return videos
