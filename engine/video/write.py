"""Frames to an H.264 file: clips made by code, and parts cut out for a browser."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError, VideoError
from engine.objects.address import Place
from engine.video.decode import Frame, decode_range
from engine.video.gop import Gop

BT601 = 6  # as pictures are converted
Image = NDArray[np.uint8]  # [H, W, 3], RGB, upright


@dataclass(frozen=True, slots=True)
class H264:
    """How to encode; the same settings and frames give the same bytes on one build of x264."""

    bframes: int = 2
    gop: int = 60  # frames between key pictures, at most
    crf: float = 20.0
    preset: str = "veryfast"
    threads: int = 1  # 0: as many as there are cores
    more: Mapping[str, str] = field(default_factory=dict)  # libx264's own options

    def options(self) -> dict[str, str]:
        """Return libx264's options."""
        return {
            "preset": self.preset,
            "crf": str(self.crf),
            "bf": str(self.bframes),
            "b_strategy": "0",  # B-frames wherever they may stand, whatever the content
            "g": str(self.gop),
            **self.more,
        }


@dataclass(frozen=True, slots=True)
class ClipRecipe:
    """How a clip for browsers is made: no side is longer than `max_side`."""

    h264: H264
    max_side: int


CLIP = ClipRecipe(H264(bframes=0, threads=0), max_side=1280)


def write_h264(
    path: str | Path,
    frames: Iterable[Image],
    fps: float | Fraction,
    *,
    bframes: int = 2,
    gop: int = 60,
    crf: float = 20.0,
    threads: int = 1,
    settings: H264 | None = None,
) -> int:
    """Write frames of one even size at exactly `fps` frames per second; return their number.

    Frame `i` is shown at `i / fps` seconds, exactly. The suffix of `path` chooses the container.
    `settings` stand for all the others.
    """
    rate = Fraction(fps).limit_denominator(1_000_000)
    if rate <= 0:
        raise UsageError(f"fps must be positive, got {fps}")
    numbered = ((number, image) for number, image in enumerate(frames))
    chosen = settings or H264(bframes, gop, crf, threads=threads)
    return _encode(Path(path), numbered, 1 / rate, rate, chosen)


def write_timed(
    path: str | Path, frames: Iterable[tuple[float, Image]], settings: H264 | None = None
) -> int:
    """Write frames, each with the second at which it is shown; times must rise. Return the number.

    Times are kept to 1/90000 s; the last frame lasts as long as the one before it.
    """
    base = Fraction(1, 90_000)
    ticked = ((round(seconds / base), image) for seconds, image in frames)
    return _encode(Path(path), ticked, base, None, settings or H264())


def _encode(
    path: Path,
    frames: Iterator[tuple[int, Image]],
    base: Fraction,
    rate: Fraction | None,
    settings: H264,
) -> int:
    """Encode frames with times in units of `base`; an unfinished file does not stay."""
    count = 0
    try:
        with av.open(str(path), "w", options=_muxer(path)) as container:
            stream = container.add_stream("libx264", rate=rate, options=settings.options())
            stream.pix_fmt = "yuv420p"
            stream.time_base = stream.codec_context.time_base = base
            stream.codec_context.thread_count = settings.threads
            stream.codec_context.colorspace = BT601  # or a large picture is taken for BT.709
            for pts, duration, image in _with_durations(frames):
                if count == 0:
                    stream.height, stream.width = _even_size(image)
                elif (stream.height, stream.width) != image.shape[:2]:
                    raise UsageError(
                        f"frame {count} is {image.shape[1]}x{image.shape[0]},"
                        f" the first one {stream.width}x{stream.height}"
                    )
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                frame.pts, frame.time_base, frame.duration = pts, base, duration
                container.mux(stream.encode(frame))
                count += 1
            if count == 0:
                raise UsageError(f"no frames to write to {path.name}")
            container.mux(stream.encode(None))
    except av.FFmpegError as error:
        path.unlink(missing_ok=True)
        raise VideoError(f"cannot write {path.name}: {error.strerror}", path=str(path)) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return count


def _with_durations(frames: Iterator[tuple[int, Image]]) -> Iterator[tuple[int, int, Image]]:
    """Add to each frame how long it is shown, from the time of the next one."""
    duration, held = 1, next(frames, None)
    for following in frames:
        assert held is not None
        duration = following[0] - held[0]
        if duration <= 0:
            raise UsageError("frame times must rise")
        yield held[0], duration, held[1]
        held = following
    if held is not None:
        yield held[0], duration, held[1]


def _even_size(image: Image) -> tuple[int, int]:
    """Return height and width, which 4:2:0 colour wants even."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        raise UsageError(f"frames must have even sides, got {width}x{height}")
    return height, width


def _muxer(path: Path) -> dict[str, str]:
    """Return the container's options: the index first, so that browsers can start at once."""
    return {"movflags": "+faststart"} if path.suffix in {".mp4", ".mov", ".m4v"} else {}


def cut_clip(
    path: str | Place,
    start_seconds: float,
    stop_seconds: float,
    out: str | Path,
    *,
    gops: Sequence[Gop],
    recipe: ClipRecipe = CLIP,
) -> int:
    """Write what is shown in `[start_seconds, stop_seconds)` as an MP4 that browsers play.

    Upright, with the frames' own times counted from the first of them, without sound. Return the
    number of frames.
    """
    if stop_seconds <= start_seconds:
        raise UsageError(f"a clip must end after it starts, got {start_seconds}..{stop_seconds}")
    frames = decode_range(path, start_seconds, stop_seconds, gops=gops, threads=0)
    return write_timed(out, _playable(frames, recipe.max_side), recipe.h264)


def _playable(frames: Iterable[Frame], max_side: int) -> Iterator[tuple[float, Image]]:
    """Yield frames of the first one's size, shrunk, with even sides and rising times."""
    origin, last, size = 0.0, -1.0, (0, 0)
    for frame in frames:
        image = frame.image
        if last < 0:
            origin, size = frame.seconds, _playable_size(image, max_side)
        if frame.seconds - origin > last:
            last = frame.seconds - origin
            yield last, _resize(image, size)


def _playable_size(image: Image, max_side: int) -> tuple[int, int]:
    height, width = image.shape[:2]
    scale = min(1.0, max_side / max(height, width))
    return max(round(height * scale) // 2 * 2, 2), max(round(width * scale) // 2 * 2, 2)


def _resize(image: Image, size: tuple[int, int]) -> Image:
    if image.shape[:2] == size:
        return image
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    return frame.reformat(width=size[1], height=size[0]).to_ndarray(format="rgb24")
