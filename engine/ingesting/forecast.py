"""What an ingest would do, told without doing any of it; and what those before it have taken."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from engine.errors import VideoError
from engine.ingesting.discover import Found, discover
from engine.ingesting.identify import stored_gops, stored_rate
from engine.ingesting.plan import Source, Stretch, cut, cut_coarsely
from engine.ingesting.report import IngestOptions, VideoReport
from engine.ingesting.tasks import lacking, lacking_coarsely
from engine.objects.address import Place
from engine.search.context import SearchContext
from engine.search.rates import EmbeddingRates, encoding_by, encoding_of, kind_of, kinds_of
from engine.storage.store import Store
from engine.video.container import content_hash, file_stamp, probe
from engine.video.gop import index_gops


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """What would become of a file; quarantined where its container or its index cannot be read."""

    name: str
    path: str
    outcome: Literal["new", "resumed", "known", "quarantined"]
    seconds: float = 0.0  # that it lasts
    frames: int = 0  # to be embedded, at most
    reason: str | None = None  # why it cannot be used


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an ingest would do. Damage that only decoding finds is not foreseen.

    Seconds of decoding and encoding are of the work, by what earlier work took here; who decodes on
    several cores waits for less. None where nothing was measured.
    """

    files: list[ExpectedFile]
    decode_seconds: float | None
    encode_seconds: float | None
    disk_bytes: int | None  # of rows in Parquet files, without the search index

    @property
    def frames(self) -> int:
        """To be embedded, at most."""
        return sum(file.frames for file in self.files)

    @property
    def seconds(self) -> float:
        """How long the videos last that something is to be embedded of, or that are new."""
        return sum(file.seconds for file in self.files if file.outcome in ("new", "resumed"))

    def count(self, outcome: str) -> int:
        """Return how many files have an outcome."""
        return sum(file.outcome == outcome for file in self.files)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {**asdict(self), "frames": self.frames, "seconds": self.seconds}


@dataclass(frozen=True, slots=True)
class BeforeIngest:
    """What a store knows before an ingest."""

    store: Store
    space: str | None  # the model's, where anything was embedded by it
    device: str


@dataclass(slots=True)
class _Work:
    """What is to be done so far: units by their kind."""

    decode: dict[str, float] = field(default_factory=dict)  # seconds of video
    frames: int = 0


def forecast(
    paths: Sequence[str | Place | Found], options: IngestOptions, known: BeforeIngest | None = None
) -> Forecast:
    """Tell what an ingest of these files would do; without a store all of them are new.

    Of each file the headers and the index of its pictures are read, and all of its bytes only where
    another has its size: the same content is one video.
    """
    found = discover(paths)
    sizes = [_size(each.path) for each in found]
    stored = known.store.catalog.videos() if known else []
    common = {video.size_bytes for video in stored}
    common |= {size for size in sizes if sizes.count(size) > 1}
    seen, work, files = set[str](), _Work(), list[ExpectedFile]()
    for each, size in zip(found, sizes, strict=True):
        try:
            if each.address != str(each.path):
                raise VideoError(f"{each.name} has a name that is not UTF-8; rename the file")
            content = content_hash(each.path) if size in common else None
            if content in seen:
                files.append(ExpectedFile(each.name, each.address, "known"))
                continue
            seen |= {content} if content else set()
            files.append(_expected(each, content, options, known, work))
        except VideoError as error:
            said = str(error)
            files.append(ExpectedFile(each.name, each.address, "quarantined", reason=said))
    if known is None or known.space is None:
        return Forecast(files, None, None, None)
    rates = EmbeddingRates.load(known.store, known.space)
    decode = rates.decode.expected(work.decode) if rates.decode.known else None
    frames = {encoding_by(options.strategy, known.device): float(work.frames)}
    encode = rates.encode.expected(frames) if rates.encode.known else None
    row = known.store.bytes_per_row(known.space)
    return Forecast(files, decode, encode, None if row is None else round(row * work.frames))


def learn(context: SearchContext, videos: Sequence[VideoReport]) -> None:
    """Keep what decoding and encoding took in an ingest, for estimates."""
    done = [video for video in videos if video.frames and video.fps]
    kinds = kinds_of(context, [video.video_id for video in done if video.video_id])
    rates = EmbeddingRates.load(context.store, context.space)
    for video in done:
        seconds = {kinds.get(video.video_id or 0, ""): video.frames / (video.fps or 1.0)}
        frames = {encoding_of(context): float(video.frames)}
        rates = rates.learn(seconds, video.decode_seconds, frames, video.encode_seconds)
    if done:
        rates.keep(context)


def _expected(
    found: Found,
    content: str | None,
    options: IngestOptions,
    known: BeforeIngest | None,
    work: _Work,
) -> ExpectedFile:
    info = probe(found.path)
    video = known.store.catalog.find_content(content) if known and content else None
    gops = stored_gops(known.store, video.video_id) if known and video else ()
    gops = gops or tuple(index_gops(found.path))
    stored = None
    if known and known.space and video:
        stored = stored_rate(known.store, video.video_id, known.space)
    fps = options.fps if options.replace else max(stored or 0.0, options.fps)
    stamp, video_id = file_stamp(found.path), video.video_id if video else 0
    coarse = options.coverage == "keys"
    source = Source(found.path, stamp, video_id, found.name, gops, fps, coarse=coarse)
    todo = _lacking(known, source, options)
    frames = sum(source.frames(part) for part in todo)
    kind = kind_of(info.codec, info.width, info.height)
    work.decode[kind] = work.decode.get(kind, 0.0) + frames / fps
    work.frames += frames
    lasts = gops[-1].stop_seconds - gops[0].start_seconds
    fresh = video is None or (stored is None and frames > 0)
    outcome: Literal["new", "resumed", "known"] = "known"
    if fresh:
        outcome = "new"
    elif frames:
        outcome = "resumed"
    return ExpectedFile(found.name, found.address, outcome, lasts, frames)


def _lacking(known: BeforeIngest | None, source: Source, options: IngestOptions) -> list[Stretch]:
    if options.coverage == "none":
        return []
    if known is None or known.space is None or not source.video_id:
        return cut_coarsely(source.gops) if source.coarse else cut(source.gops, source.fps)
    if source.coarse:
        return lacking_coarsely(known.store, source, known.space)
    return lacking(known.store, source, known.space, options.strategy)


def _size(path: Place) -> int | None:
    try:
        return file_stamp(path)[1]
    except VideoError:  # said where the file is looked at
        return None
