"""What a file says about itself, before anything is decoded."""

import hashlib
import logging
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from engine.errors import (
    CorruptVideoError,
    EngineError,
    ObjectError,
    UnreachedError,
    UnsupportedCodecError,
    VideoError,
)
from engine.objects.address import Address, Place, place_of
from engine.objects.faults import ObjectGoneError
from engine.objects.head import ObjectState, identity
from engine.objects.remote import RemoteFile, head_of
from engine.video.boxes import check_claims
from engine.video.limits import MOST_PIXELS, READ_SECONDS
from engine.video.orientation import Turn, track_matrices, turn_of
from engine.video.recorded import container_time

log = logging.getLogger(__name__)
# playlists, scripts and pictures are left out: an upload must not make the reader open other files
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,vvc,av1,obu,ivf,"
    "gif,apng,flv,asf,ogg,mxf,nut,rm,wtv,dv,h263,vc1,dirac,mjpeg,y4m,yuv4mpegpipe"
)
OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": FORMATS,
    "max_pixels": str(MOST_PIXELS),
}
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """A video as its container describes it."""

    path: str
    codec: str
    width: int  # as displayed, after rotation
    height: int
    rotation: int  # degrees counterclockwise that the stored picture is turned by to show it
    fps: float  # average; 0 where the container does not say
    duration_seconds: float  # 0 where the container does not say
    start_seconds: float
    num_frames: int | None  # the container's claim
    size_bytes: int
    pixel_format: str
    audio: bool
    recorded_at: datetime | None = None  # UTC without a zone, where the container says it


def probe(path: str | Place) -> VideoInfo:
    """Read a file's headers; nothing is decoded."""
    path = place_of(path)
    with open_video(path) as (container, stream):
        codec = stream.codec_context
        turn = _turn(path, container, stream)
        width, height = codec.width, codec.height
        if turn.transposed:
            width, height = height, width
        return VideoInfo(
            path=str(path),
            codec=codec.name if codec.codec is None else codec.codec.canonical_name,
            width=width,
            height=height,
            rotation=turn.degrees,
            fps=float(stream.average_rate or 0),
            duration_seconds=_duration_seconds(container, stream),
            start_seconds=_start_seconds(container, stream),
            num_frames=stream.frames or None,
            size_bytes=file_stamp(path)[1],
            pixel_format=codec.pix_fmt or "",
            audio=bool(container.streams.audio),
            recorded_at=container_time(container.metadata, stream.metadata),
        )


def content_hash(path: str | Place) -> str:
    """Return the SHA-256 of all bytes in hexadecimal; a file that changes meanwhile is an error.

    Of an object elsewhere nothing is read: what its storage says of it stands for its bytes.
    """
    path = place_of(path)
    if isinstance(path, Address):
        return identity(path, _head(path))
    digest = hashlib.sha256()
    before = file_stamp(path)
    try:
        with path.open("rb") as file:
            left = before[1] + 1  # a file that grows meanwhile is not followed for ever
            while chunk := file.read(min(CHUNK_BYTES, left)):
                digest.update(chunk)
                left -= len(chunk)
    except OSError as error:
        raise _unreadable(path, error) from error
    if before != file_stamp(path):
        raise VideoError(f"{path.name} changed while it was read", path=str(path))
    return digest.hexdigest()


def file_stamp(path: Place) -> tuple[int, int, int]:
    """Return what changes when a file is written to or replaced: inode, size, time.

    Raises VideoError for what is no regular file: reading a pipe or a device need never end.
    """
    if isinstance(path, Address):
        return _head(path).stamp
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder, not a file" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise VideoError(f"{path.name} is {kind}", path=str(path))
    return status.st_ino, status.st_size, status.st_mtime_ns


def _head(address: Address) -> ObjectState:
    """Ask what an object is now."""
    try:
        return head_of(address)
    except ObjectError as error:
        raise _unreached(address, error) from error


def _unreached(place: Place, error: ObjectError) -> VideoError:
    """Tell an object that is gone from one that could not be asked for."""
    kind = VideoError if isinstance(error, ObjectGoneError) else UnreachedError
    return kind(str(error), path=str(place))


@contextmanager
def reading(path: str | Place) -> Iterator[None]:
    """Whatever is raised while a file is read is that file's: a VideoError that names it.

    Libraries meet bytes here that nobody vouches for, and what they raise is not theirs to foresee:
    one file must not end the work on others.
    """
    path = place_of(path)
    try:
        yield
    except ObjectError as error:
        raise _unreached(path, error) from error
    except EngineError:
        raise
    except Exception as error:
        log.info("%s", path, exc_info=True)
        said = str(error).strip().splitlines() or ["no reason given"]
        raise CorruptVideoError(
            f"{path.name} cannot be read: {type(error).__name__}: {said[0]}", path=str(path)
        ) from error


@contextmanager
def open_video(path: str | Place) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its first video stream that is no cover picture.

    Whatever goes wrong while it is open is raised as a VideoError, as `reading` does.
    """
    path = place_of(path)
    stamp = _check_readable(path)
    with reading(path):
        check_claims(path, stamp)
        # the prefix keeps a name like "http:x.mp4" from being taken for an address
        file = f"file:{path}" if isinstance(path, Path) else RemoteFile(path)
        try:
            container = av.open(
                file, options=OPTIONS, metadata_errors="replace", timeout=READ_SECONDS
            )
        except av.FFmpegError as error:
            raise CorruptVideoError(
                f"{path.name} is not a video, or its header is damaged ({error.strerror})",
                path=str(path),
            ) from error
        with container:
            yield container, _video_stream(container, path)


def _video_stream(container: InputContainer, path: Place) -> VideoStream:
    pictures = container.streams.video
    moving = [s for s in pictures if not s.disposition & Disposition.attached_pic]
    if not moving:
        held = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        kind = "only a cover picture" if pictures else f"no video stream; it holds {held}"
        raise VideoError(f"{path.name} has {kind}", path=str(path))
    usable = [s for s in moving if s.codec_context is not None]
    if not usable:
        raise UnsupportedCodecError(
            f"{path.name} uses a codec that cannot be decoded here", path=str(path)
        )
    codec = usable[0].codec_context
    if codec.width * codec.height > MOST_PIXELS:
        raise VideoError(
            f"{path.name} has pictures of {codec.width} × {codec.height};"
            f" at most {MOST_PIXELS:,} pixels are taken",
            path=str(path),
        )
    return usable[0]


def _check_readable(path: Place) -> tuple[int, int, int]:
    """Give the plain reasons names, as libav's are vaguer; return the stamp of what is there."""
    stamp = file_stamp(path)
    if not stamp[1]:
        raise CorruptVideoError(f"{path.name} is empty", path=str(path))
    if isinstance(path, Address):
        return stamp
    try:
        with path.open("rb"):
            return stamp
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> VideoError:
    return VideoError(f"{path.name} cannot be read: {error.strerror}", path=str(path))


def _turn(path: Place, container: InputContainer, stream: VideoStream) -> Turn:
    if "mp4" not in container.format.name:
        return turn_of(None)
    matrices = track_matrices(path)
    return turn_of(matrices[stream.index] if stream.index < len(matrices) else None)


def _duration_seconds(container: InputContainer, stream: VideoStream) -> float:
    if stream.duration and stream.time_base:
        return stream.duration * stream.time_base.numerator / stream.time_base.denominator
    return (container.duration or 0) / av.time_base


def _start_seconds(container: InputContainer, stream: VideoStream) -> float:
    if stream.start_time is not None and stream.time_base:
        return stream.start_time * stream.time_base.numerator / stream.time_base.denominator
    return (container.start_time or 0) / av.time_base
