"""What an ingest is asked for, what it says while it runs and what it did."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, Protocol, get_args

from engine.errors import UsageError, unknown
from engine.storage.records import CellValue
from engine.video.sample import check_fps
from engine.vision.registry import check_named
from engine.vision.strategies import check_strategy

Stage = Literal["decode", "encode", "write"]
Decoder = Literal["auto", "pyav", "nvdec"]
Coverage = Literal["all", "keys", "none"]
Clock = Callable[[], float]
DECODERS = get_args(Decoder)
COVERAGES = get_args(Coverage)
Outcome = Literal["ready", "known", "quarantined", "interrupted"]


def bound_of(given: float | str) -> float | None:
    """Return a bound as it was asked for, None for `none`."""
    if given == "none":
        return None
    try:
        return float(given)
    except ValueError:
        raise UsageError(f"max_drift is a number between 0 and 1, or none, got {given!r}") from None


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How videos are sampled, decoded and encoded."""

    fps: float = 2.0  # sampled frames per second of video
    strategy: str = "auto"  # a name, or the fastest that keeps the bound
    parts: Mapping[str, Path] = field(default_factory=dict)  # trained ones, by their strategy
    options: Mapping[str, Any] = field(default_factory=dict)  # of the strategy that is named
    max_drift: float | None = 0.02  # mean 1 - cosine to dense per video; None: no bound
    decoder: Decoder = "auto"  # on the CPU, or by the GPU's own
    devices: tuple[str, ...] = ()  # that encode, a process each; none: the model's own
    ray: str | None = None  # the address of a cluster that decodes and encodes
    apart: bool = False  # on a CPU: in a process of its own that lets others go first
    workers: int | None = None  # decoding threads; None: one per core
    streams: int | None = None  # stretches encoded side by side; None: by device
    stall_seconds: float = 60.0  # a decoder silent for that long is given up
    decode_gate: bool = False  # leave groups of pictures undecoded where that keeps the bound
    coverage: Coverage = "all"  # keys: of each group of pictures one frame, densely; none: no rows
    replace: bool = False  # stored rows by coarser ones; else finer rows are kept
    recorded_pattern: str | None = None  # in a name, when it was recorded
    columns: Mapping[str, CellValue] = field(default_factory=dict)  # said of each of the videos
    clock: Clock = perf_counter  # that times decoding and encoding, each in a thread of its own
    weigh_from: int = (
        1000  # frames; with fewer `auto` is dense: weighing takes longer than it saves
    )

    def __post_init__(self) -> None:
        check_fps(self.fps)
        check_strategy(self.strategy)
        check_named(self.options, [self.strategy])
        if self.options and self.strategy == "auto":
            raise UsageError("options are those of a strategy that is named, got strategy auto")
        if self.max_drift is not None and not 0 < self.max_drift < 1:
            raise UsageError(
                f"max_drift must lie between 0 and 1, or be none, got {self.max_drift}"
            )
        if self.decode_gate and self.max_drift is None:
            raise UsageError("decode_gate keeps a bound on drift, got max_drift none")
        if self.decoder not in DECODERS:
            raise UsageError(unknown("decoder", self.decoder, DECODERS))
        if self.coverage not in COVERAGES:
            raise UsageError(unknown("coverage", self.coverage, COVERAGES))
        for name in ("workers", "streams"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, got {value}")


@dataclass(frozen=True, slots=True)
class Missing:
    """A part of a video, `[start_seconds, stop_seconds)`, that could not be used."""

    start_seconds: float
    stop_seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Event:
    """How far one stage has come, in sampled frames of all videos together."""

    stage: Stage
    video: str  # the one that moved on
    frames: int
    expected: int  # an estimate until the last video has been looked at
    frames_per_second: float
    reuse_rate: float | None  # of what was encoded so far
    eta_seconds: float | None
    nodes: tuple[tuple[str, float], ...] = ()  # of a cluster, each with its frames per second

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)


class Progress(Protocol):
    """Who wants to know how far an ingest is, and may stop it."""

    def report(self, event: Event) -> None:
        """Take in an event; called from several threads, one at a time."""

    def stopped(self) -> bool:
        """Return True to let the ingest commit what is begun and end."""


@dataclass(slots=True)
class VideoReport:
    """What became of one file."""

    name: str
    path: str
    outcome: Outcome
    video_id: int | None = None
    reason: str | None = None  # why it was quarantined
    fps: float | None = None  # that its rows are sampled at
    note: str | None = None  # what became of rows that were there at another rate
    transcript: str | None = None  # what is said in it, and what of that is damaged
    strategy: str | None = None
    choice: str | None = None  # why that strategy
    decoder: str | None = None  # which, and why
    pictures: int = 0  # decoded
    gate: str | None = None  # what the decode gate did, or why it is off
    carried: int = 0  # of `frames`, those that take an earlier picture's vector
    frames: int = 0  # sampled and embedded in this run
    rows: int = 0  # stored by now
    reuse_rate: float = 0.0  # mean over `frames`
    drift: float | None = None  # estimated mean over `frames`, where it was estimated
    macs: float = 0.0
    macs_dense: float = 0.0
    decode_seconds: float = 0.0  # of one thread
    encode_seconds: float = 0.0
    write_seconds: float = 0.0
    missing: list[Missing] = field(default_factory=list)


@dataclass(slots=True)
class NodeReport:
    """What a machine of a cluster has done."""

    name: str
    frames: int = 0  # encoded there
    frames_per_second: float = 0.0
    decoded: int = 0  # frames
    decode_seconds: float = 0.0  # of one thread
    encode_seconds: float = 0.0  # that its encoders were at work
    device_seconds: float = 0.0  # that its encoders were there, at work or not
    sent_bytes: int = 0  # of resized pixels, to encoders anywhere
    lost: int = 0  # processes that died or could not begin
    reason: str | None = None  # why it was left out


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest did, by video, in the order they were found."""

    videos: list[VideoReport]
    seconds: float
    device: str = "none"
    decoder: str = "none"
    strategy: str | None = None  # None: nothing had to be encoded
    choice: str = "not embedded"  # why this strategy, in words
    choices: list[dict[str, Any]] = field(default_factory=list)  # of `auto`, with what it weighed
    interrupted: bool = False
    max_drift: float | None = None  # the bound that was asked for
    coverage: Coverage = "all"  # that was asked for
    caution: str | None = None  # what has to be known before the model is relied on
    nodes: list[NodeReport] = field(default_factory=list)  # of a cluster

    @property
    def device_seconds_per_hour(self) -> float | None:
        """What an hour of video cost: seconds for which a cluster's encoders were held for it."""
        hours = self.seconds_of_video / 3600
        return (
            sum(node.device_seconds for node in self.nodes) / hours
            if self.nodes and hours
            else None
        )

    @property
    def quarantined(self) -> list[VideoReport]:
        """The videos that could not be used."""
        return [video for video in self.videos if video.outcome == "quarantined"]

    @property
    def frames(self) -> int:
        """Frames embedded."""
        return sum(video.frames for video in self.videos)

    @property
    def seconds_of_video(self) -> float:
        """How long the embedded frames stand for."""
        return sum(video.frames / video.fps for video in self.videos if video.fps)

    @property
    def rows(self) -> int:
        """Rows that the videos have by now."""
        return sum(video.rows for video in self.videos)

    @property
    def reuse_rate(self) -> float:
        """Mean over all embedded frames."""
        total = sum(video.reuse_rate * video.frames for video in self.videos)
        return total / self.frames if self.frames else 0.0

    @property
    def promise(self) -> str:
        """What is promised of the drift of the rows embedded, in words."""
        if self.coverage == "keys":
            return "none at all: the first frame of each group of pictures, embedded densely"
        if self.max_drift is None:
            return "nothing: no bound was asked for, so nothing was audited"
        told = f"a mean of at most {self.max_drift:g}, at 95 % confidence for each whole video"
        both = any(video.carried and video.strategy != "dense" for video in self.videos)
        return f"{told}, as far as what gate and strategy drift adds up" if both else told

    @property
    def resume(self) -> str | None:
        """How to go on after an interruption, else None."""
        if not self.interrupted:
            return None
        done = sum(video.outcome in ("ready", "known") for video in self.videos)
        return (
            f"stopped with {done} videos complete; the same command goes on where this one"
            " stopped, and no committed stretch is encoded again"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            **asdict(self),
            "frames": self.frames,
            "rows": self.rows,
            "reuse_rate": self.reuse_rate,
            "promise": self.promise,
            "device_seconds_per_hour": self.device_seconds_per_hour,
            "resume": self.resume,
        }
