"""GOPs to frames: any part of a video, reading only the groups of pictures that it needs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf
from typing import Literal, cast

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray

from engine.errors import CorruptVideoError
from engine.objects.address import Place, place_of
from engine.video.container import open_video
from engine.video.gop import Gop, VideoPacket, gop_at, packet_pts, packets_of, raw_step, time_base
from engine.video.limits import MOST_PIXELS
from engine.video.needed import ENTERING, Judged, Needed, needed
from engine.video.orientation import UPRIGHT, Turn, turn_of
from engine.video.skip import CLOCK_SECONDS, SKIPPING, Looked, skippable

Picture = Literal["I", "P", "B", "?"]
PICTURES: dict[int, Picture] = {
    PictureType.I: "I",
    PictureType.SI: "I",
    PictureType.P: "P",
    PictureType.SP: "P",
    PictureType.B: "B",
    PictureType.BI: "B",
}
UNSPECIFIED = 2  # of colour spaces
SIZE_OPTIONS = {"max_pixels": str(MOST_PIXELS)}  # a stream may change its size under way
END: Needed = (None, False)  # gives what the decoder still holds
CUE_OPTIONS = {"flags2": "+export_mvs", "export_side_data": "venc_params"}


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture and the second from which it is shown.

    `image` is made when asked for: pictures that nobody looks at cost no conversion.
    """

    seconds: float
    picture: Picture
    key: bool
    corrupt: bool  # damaged, or built on a picture that could not be decoded
    raw: VideoFrame
    number: int | None = None  # of the sampling instant, once sampled
    turn: Turn = UPRIGHT  # how the stored picture is laid to be upright

    @property
    def image(self) -> NDArray[np.uint8]:
        """The picture upright, RGB `[H, W, 3]`; one field of an interlaced one, lines doubled."""
        try:
            # threads of its own for one picture would take longer to start than to convert it
            image = self.raw.to_ndarray(format="rgb24", threads=1, src_colorspace=_matrix(self.raw))
        except (av.FFmpegError, ValueError, MemoryError) as error:
            raise CorruptVideoError(
                f"the picture at {self.seconds:.3f} s, {self.raw.width} × {self.raw.height} in"
                f" {self.raw.format.name}, cannot be converted to RGB: {error}"
            ) from error
        if self.raw.interlaced_frame:
            image[1::2] = image[0 : len(image) - len(image) % 2 : 2]
        return np.ascontiguousarray(self.turn.apply(image))


@dataclass(frozen=True, slots=True)
class Damage:
    """A place where the stream could not be decoded."""

    seconds: float
    reason: str


def decode_range(
    path: str | Place,
    start_seconds: float,
    stop_seconds: float,
    *,
    gops: Sequence[Gop],
    threads: int = 1,
    cues: bool = False,
    damage: list[Damage] | None = None,
    looked: Looked | None = None,
) -> Iterator[Frame]:
    """Yield the frames whose time is in `[start_seconds, stop_seconds)`, in order.

    Only the groups of pictures that the range needs are read. Pictures that cannot be decoded are
    left out and noted in `damage`; what comes after them, up to the next key picture, is marked
    corrupt. With `cues`, frames carry the codec's motion vectors and quantisers. With `looked`,
    pictures at which nobody looks are left out where none that somebody looks at is built on them.
    """
    notes: list[Damage] = [] if damage is None else damage
    noted, first = len(notes), gop_at(gops, start_seconds)
    for entry in _entries(first):
        with open_video(path) as (container, stream):
            _configure(stream, threads, cues)
            packets = _enter(container, stream, gops[entry])
            if packets is None:
                continue
            frames = _decode(packets, stream, notes, looked, _stops(gops), stop_seconds)
            opening = next(frames, None)
            if entry and (opening is None or opening.seconds > gops[first].start_seconds):
                del notes[noted:]
                continue  # the decoder needs to see more than the index promised
            last = -inf
            try:
                for frame in chain([] if opening is None else [opening], frames):
                    if frame.seconds >= stop_seconds:
                        return
                    if frame.seconds >= start_seconds:
                        yield frame
                    last = frame.seconds
                return
            except _NotEnteredError:
                pass  # the decoder needs to see what was left out
        whole: list[Damage] = []
        for frame in decode_range(
            path, max(start_seconds, last), stop_seconds, gops=gops, threads=threads, cues=cues,
            damage=whole,
        ):  # fmt: skip
            if frame.seconds > last:
                yield frame
        notes += [each for each in whole if each.seconds > last]
        return


def get_frame_at(path: str | Place, seconds: float, *, gops: Sequence[Gop]) -> Frame:
    """Return the frame on screen at an instant; the first or last one outside the video."""
    gop = gops[gop_at(gops, seconds)]
    shown = None
    for frame in decode_range(path, gop.start_seconds, gop.stop_seconds, gops=gops):
        if shown is not None and frame.seconds > seconds + CLOCK_SECONDS:
            break
        shown = frame
    if shown is None:
        raise CorruptVideoError(
            f"{place_of(path).name} shows nothing that can be decoded at {seconds:.3f} s",
            path=str(path),
        )
    return shown


def _entries(first: int) -> Iterator[int]:
    """Yield the groups to enter at, the nearest one first and the start of the file last."""
    yield first
    step = 1
    while first - step > 0:
        yield first - step
        step *= 2
    if first:
        yield 0


def _configure(stream: VideoStream, threads: int, cues: bool) -> None:
    context = stream.codec_context
    context.thread_count = threads
    # threads of frames give cues of a picture that another of them still decodes
    context.thread_type = "NONE" if threads == 1 else "SLICE" if cues else "AUTO"
    context.options = SIZE_OPTIONS | CUE_OPTIONS if cues else SIZE_OPTIONS


def _enter(
    container: InputContainer, stream: VideoStream, gop: Gop
) -> Iterator[VideoPacket] | None:
    """Return the packets from a group's key picture on; None where it cannot be found there."""
    if gop.index == 0:
        return packets_of(container, stream)
    try:
        container.seek(gop.key_pts, stream=stream)
    except av.FFmpegError:
        return None
    packets = packets_of(container, stream)
    key = next((packet for packet in packets if packet.is_keyframe), None)
    pts = None if key is None else packet_pts(key)
    if key is None or pts is None or pts > gop.key_pts:
        return None
    return chain([key], packets)


def _decode(
    packets: Iterator[VideoPacket],
    stream: VideoStream,
    notes: list[Damage],
    looked: Looked | None,
    stops: Mapping[int, float],
    until: float,
) -> Iterator[Frame]:
    num, den = time_base(stream)
    step, following, opening = raw_step(stream), 0, None
    broken, turn = False, None
    context, whole = stream.codec_context, False  # whole: pictures do not come as two fields
    anew, entered = False, None  # entered: the key picture after a gap, until it has come
    judged = _judged(packets, stream, looked, stops, until)
    for packet, unseen in chain(judged, [END]):
        pts = packet_pts(packet) if packet else None
        opening = pts if opening is None else opening
        if anew:
            context.flush_buffers()
            entered = pts
        anew = packet is None
        context.skip_frame = "NONREF" if unseen and whole and entered is None else "DEFAULT"
        try:
            pictures = stream.decode(packet)
        except av.FFmpegError as error:
            if entered is not None:
                raise _NotEnteredError from error
            # pictures before the one entered at lean on what was not read: no damage
            if pts is None or opening is None or pts >= opening:
                broken = True
                at = (following if pts is None else pts) * num / den
                notes.append(Damage(at, _reason(error, stream)))
            continue
        for raw in pictures:
            shown = raw.pts if raw.pts is not None else raw.dts
            shown = following if shown is None else shown
            if entered is not None and (shown != entered or raw.is_corrupt):
                raise _NotEnteredError
            entered = None
            following = shown + step
            broken = broken and not raw.key_frame
            whole = not raw.interlaced_frame
            if turn is None or raw.key_frame:
                turn = _turn(raw)
            yield Frame(
                seconds=shown * num / den,
                picture=PICTURES.get(raw.pict_type, "?"),
                key=raw.key_frame,
                corrupt=broken or raw.is_corrupt,
                raw=raw,
                turn=turn,
            )
        if anew and entered is not None:
            raise _NotEnteredError


class _NotEnteredError(Exception):
    """After a gap the decoder did not begin with the key picture that it was given."""


def _judged(
    packets: Iterator[VideoPacket],
    stream: VideoStream,
    looked: Looked | None,
    stops: Mapping[int, float],
    until: float,
) -> Iterator[Needed]:
    """Say of each packet whether nobody looks at its picture; leave out those of no use."""
    if looked is None:
        return ((packet, False) for packet in packets)
    (num, den), codec = time_base(stream), stream.codec_context.name
    judged: Iterator[Judged] = ((packet, False) for packet in packets)
    if codec in SKIPPING:
        judged = skippable(packets, looked, num, den)
    if codec in ENTERING:
        return needed(judged, looked, stops, until, num, den)
    return cast(Iterator[Needed], judged)


def _stops(gops: Sequence[Gop]) -> dict[int, float]:
    """Return when the last of the groups ends that a key picture begins."""
    return {gop.key_pts: gop.stop_seconds for gop in gops}


def _reason(error: av.FFmpegError, stream: VideoStream) -> str:
    if isinstance(error, av.ArgumentError) and not stream.codec_context.width:
        return f"its pictures have no size, or more than {MOST_PIXELS:,} pixels"  # libav drops it
    return error.strerror or str(error)


def _matrix(raw: VideoFrame) -> int | None:
    """Return how colours are coded where the stream does not say: by size, as players take it."""
    unsaid = raw.colorspace == UNSPECIFIED and not raw.format.is_rgb
    return Colorspace.ITU709 if unsaid and (raw.width >= 1280 or raw.height > 576) else None


def _turn(raw: VideoFrame) -> Turn:
    """Read a picture's display matrix.

    A picture and its side data hold each other until the collector of cycles comes, which is late:
    were every picture asked, hundreds of them would stay in memory.
    """
    matrix = cast(bytes | None, raw.side_data.get("DISPLAYMATRIX"))
    return turn_of(None if matrix is None else np.frombuffer(matrix, np.int32).tolist())
