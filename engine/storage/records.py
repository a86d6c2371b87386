"""What the catalog returns: one frozen record per row."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from engine.storage.sampling import Sampling

VideoStatus = Literal["registered", "ingesting", "ready", "quarantined"]
# what is measured of a space, each by itself
Calibration = Literal["rates", "null", "residuals", "mean", "passing"]
ColumnKind = Literal["text", "number", "bool", "timestamp"]
CellValue = str | float | bool | datetime | None
JobStatus = Literal["queued", "running", "ready", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class VideoEnd:
    """How far a video has come: what `set_status` says of it."""

    status: VideoStatus
    error: str | None = None
    report: Mapping[str, Any] | None = None  # JSON-ready; None: the stored one stays

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of its row."""
        values: dict[str, Any] = {"status": self.status, "error": self.error}
        return values if self.report is None else {**values, "report": json.dumps(self.report)}


@dataclass(frozen=True, slots=True)
class WholeVideo:
    """All rows of a video are there: how many, and what is said of it at once."""

    num_frames: int
    end: VideoEnd


@dataclass(frozen=True, slots=True)
class Video:
    """A stored video; a quarantined one may lack everything that probing would have told."""

    video_id: int
    name: str  # the first of its names
    path: str
    content_hash: str | None
    duration_seconds: float | None
    fps: float | None
    width: int | None
    height: int | None
    codec: str | None
    num_frames: int | None
    size_bytes: int | None
    ingested_at: datetime
    status: VideoStatus
    error: str | None
    recorded_at: datetime | None
    recorded_from: str | None  # given, name or metadata
    report: dict[str, Any] | None
    names: tuple[str, ...]  # all names of this content, the first one included
    columns: dict[str, Any]  # what users have said of it


@dataclass(frozen=True, slots=True)
class StoredGop:
    """A row of `gops`."""

    video_id: int
    index: int
    start_seconds: float
    stop_seconds: float
    num_packets: int
    key_pts: int


@dataclass(frozen=True, slots=True)
class StoredSpace:
    """An embedding space as the catalog knows it."""

    space_id: int
    key: str
    name: str
    model: str
    revision: str
    weight_hash: str
    preprocessing: str
    dimension: int


@dataclass(frozen=True, slots=True)
class Segment:
    """All stored rows of one video, space, sampling and strategy.

    Queries see the rows of the sampling that is `shown`; `num_frames` is None until it is finished.
    """

    video_id: int
    space_key: str
    sampling: Sampling
    strategy: str
    shown: bool
    num_frames: int | None


@dataclass(frozen=True, slots=True)
class StoredStretch:
    """A committed run of GOPs of a segment: `[start_seconds, stop_seconds)`."""

    video_id: int
    sampling: Sampling
    strategy: str
    stretch: int
    start_seconds: float
    stop_seconds: float
    num_frames: int


@dataclass(frozen=True, slots=True)
class Job:
    """A row of `jobs`."""

    job_id: str
    kind: str
    status: JobStatus
    request: dict[str, Any]
    progress: dict[str, Any] | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class SegmentKey:
    """What a segment is found by."""

    video_id: int
    space_id: int
    sampling: Sampling
    strategy: str

    @property
    def columns(self) -> tuple[int, int, str, str]:
        """What the catalog finds it by, in the order of its columns."""
        return self.video_id, self.space_id, str(self.sampling), self.strategy


@dataclass(frozen=True, slots=True)
class Part:
    """One file and what it must be like; `path` is below the data folder."""

    part_id: int
    space_id: int
    kind: str
    path: str
    num_rows: int
    size_bytes: int
    checksum: str
    format: int


@dataclass(frozen=True, slots=True)
class Holding:
    """A stretch of a video whose rows lie in a part; an overlay's holding has no stretch."""

    video_id: int
    sampling: Sampling
    strategy: str | None = None
    stretch: int | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """The lines of one source of a video: a file of subtitles, or a stream of its own."""

    part_id: int
    video_id: int
    source: str
    language: str | None
    digest: str  # of what was read
    path: str  # below the data folder
    num_lines: int
    damaged: int  # cues of which something could not be read
    damage: str | None  # the first
    size_bytes: int
    checksum: str
    added_at: datetime


@dataclass(frozen=True, slots=True)
class SavedIndex:
    """The index file of a space; it holds every row whose version is at most `version`."""

    space_id: int
    path: str
    checksum: str
    kind: str
    num_rows: int
    version: int
