"""Identify a file by its content, and find which of its rows are stored already."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from engine.errors import UnreachedError, VideoError
from engine.ingesting.discover import Found
from engine.ingesting.plan import Source, Stretch
from engine.ingesting.report import Missing
from engine.objects.address import place_of
from engine.storage.records import CellValue, VideoStatus
from engine.storage.store import Store
from engine.video.container import VideoInfo, content_hash, file_stamp, probe
from engine.video.gop import Gop, index_gops
from engine.video.limits import MOST_SECONDS
from engine.video.recorded import NamePattern

CLAIM_SECONDS = 1.0  # containers round how long they are


@dataclass(frozen=True, slots=True)
class Identified:
    """A file that is on record as a video."""

    video_id: int
    stamp: tuple[int, int, int]
    gops: tuple[Gop, ...]
    info: VideoInfo
    fresh: bool  # nothing was known of it before


def identify(
    store: Store,
    found: Found,
    name: str,
    recorded_pattern: str | None,
    columns: Mapping[str, CellValue],
    status: VideoStatus = "registered",
) -> Identified:
    """Register a file by its content; the same content under another name stays one video.

    By the pattern its name tells when it was recorded, else its container does. It is given values
    of users' columns before anything of it can be found; a new one has the `status` given.

    Raises VideoError, after the file was put on record with the reason, where it cannot be used.
    """
    content = None
    try:
        if found.address != str(found.path):
            raise VideoError(f"{name} has a name that is not UTF-8; rename the file")
        stamp = file_stamp(found.path)
        content = content_hash(found.path)
        info = probe(found.path)
        known = store.catalog.id_of_content(content)
        on_record = () if known is None else stored_gops(store, known)
        gops = on_record or tuple(index_gops(found.path))
    except UnreachedError:  # nothing is known of it, so nothing on record of it changes
        raise
    except VideoError as error:
        store.catalog.quarantine(name, found.address, str(error), content_hash=content)
        raise
    pattern = None if recorded_pattern is None else NamePattern.read(recorded_pattern)
    named_time = None if pattern is None else pattern.time_of(name)
    entered = store.catalog.enter(
        info, content, name, named_time, gops=None if on_record else gops, status=status
    )
    if columns:
        store.catalog.set_values([entered.video_id], columns)
    return Identified(entered.video_id, stamp, gops, info, entered.fresh)


def stored_gops(store: Store, video_id: int) -> tuple[Gop, ...]:
    """Return the groups of pictures on record."""
    return tuple(
        Gop(gop.index, gop.start_seconds, gop.stop_seconds, gop.num_packets, gop.key_pts)
        for gop in store.catalog.gops(video_id)
    )


def names_for(store: Store, found: Sequence[Found]) -> Iterator[str]:
    """Yield a name for each file: as short as it can be without standing for another file.

    A name that another path has keeps meaning that path; folders are put in front until it is free.
    """
    taken = store.catalog.paths_by_name()
    for item in found:
        path, parts = item.address, place_of(item.address).parts
        depth = len(PurePosixPath(item.name).parts)
        name = item.name
        while taken.get(name, path) != path and depth < len(parts):
            depth += 1
            name = "/".join(parts[-depth:]).replace("//", "/")
        taken[name] = path
        yield name


def committed(store: Store, source: Source, space_key: str, strategy: str) -> list[Stretch]:
    """Return what is stored at a video's sampling by the strategy asked for, or exactly.

    Any strategy will do where the choice was left to the engine.
    """
    strategies = None if strategy == "auto" else [strategy, "dense"]
    spans = store.embedded_spans(source.video_id, space_key, source.sampling, strategies)
    return [Stretch(start, stop) for start, stop in spans]


def shortfall(info: VideoInfo, gops: Sequence[Gop]) -> Missing | None:
    """Return the end that the container promises and the file does not have."""
    claimed, stop = info.start_seconds + info.duration_seconds, gops[-1].stop_seconds
    packets = sum(gop.num_packets for gop in gops)
    if stop - gops[0].start_seconds >= MOST_SECONDS:
        days = MOST_SECONDS / 86_400
        return Missing(stop, max(claimed, stop), f"at most {days:g} days of timeline are taken")
    short = info.num_frames is not None and packets < info.num_frames
    if (short and claimed > stop) or claimed > stop + CLAIM_SECONDS:
        return Missing(stop, claimed, "the file ends before its container says")
    return None


def stored_rate(store: Store, video_id: int, space_key: str) -> float | None:
    """Return at which rate the rows of a video were sampled that queries see, where it has any."""
    segments = store.catalog.segments(video_id, space_key)
    return next((each.sampling.fps for each in segments if each.shown), None)
