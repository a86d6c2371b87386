"""Live streams as files: cut at key pictures as they come, within bounds, connected again."""

import logging
import re
from collections import deque
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from threading import Condition, Thread
from time import monotonic
from typing import Self
from urllib.parse import urlsplit

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.frame import PictureType
from av.video.stream import VideoStream

from engine.errors import UsageError, VideoError
from engine.video.container import FORMATS, probe
from engine.video.limits import MOST_PIXELS

log = logging.getLogger(__name__)
SCHEMES = ("rtsp", "rtsps", "http", "https", "tcp", "udp", "srt")
DEVICES = {"v4l2": Path("/dev")}  # by the scheme: libav's name too, and where they lie
_OPTIONS = {
    "protocol_whitelist": "rtsp,rtsps,rtp,rtcp,srtp,http,https,httpproxy,tcp,udp,tls,crypto,srt",
    "format_whitelist": f"{FORMATS},rtsp,sdp,rtp,hls,mpjpeg,jpeg_pipe",
    "rtsp_transport": "tcp",
    "max_pixels": str(MOST_PIXELS),
    "fpsprobesize": "0",  # else pictures of a second or more are held back to measure their pace
}
_WITHOUT_CLOCK = ("h264", "hevc", "vvc", "av1", "obu", "mjpeg", "mpjpeg", "jpeg_pipe")  # formats
_BETWEEN_FILES = 3  # times as long nothing may come where whole files do, as by HLS
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds before another attempt to connect
_SMOOTHED = 1.0  # seconds by which a picture may be dated before the one it follows
_FADES = 0.9  # of how long there was no key picture, with each segment in which it was shorter
_LENIENT = 1.1  # times the length that was asked for
_TIME = "%Y-%m-%dT%H-%M-%S.%fZ"  # in names
_AUTHORITY = re.compile(r"//(?:[^/?#]*@)?([^/?#@]*)([^?#]*)(.*)", re.DOTALL)
_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(:\d*)?")


@dataclass(frozen=True, slots=True)
class LiveSegment:
    """A file that holds what came of a stream in some seconds."""

    path: Path
    recorded_at: datetime  # its first picture, by the clock here: UTC without a zone
    seconds: float


@dataclass(frozen=True, slots=True)
class LiveBounds:
    """How a stream is cut, and how much of it may wait."""

    segment_seconds: float = 10.0  # about: it ends at the key picture after which it were longer
    waiting: int = 30  # segments; beyond them the oldest is dropped
    bytes: int = 512 << 20  # of a segment; what is longer is cut off until a key picture comes
    silence_seconds: float = 10.0  # after which a connection counts as lost

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name in ("segment_seconds", "waiting", "bytes", "silence_seconds"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} {getattr(self, name):g}; allowed: more than 0")


class LiveRecorder:
    """Writes a stream to files in a thread of its own; use as a context manager.

    What a lost connection had begun is a segment too. `lost` and `dropped` count what was: an end
    of the connection, and segments that nobody took in time.
    """

    def __init__(self, url: str, folder: Path, name: str, bounds: LiveBounds) -> None:
        scheme, _, place = url.partition("://")
        if scheme not in (*SCHEMES, *DEVICES) or not place:
            allowed = ", ".join((*SCHEMES, *DEVICES))
            raise UsageError(f"{shown_url(url)!r} is no stream; allowed: {allowed}")
        self._device = scheme if scheme in DEVICES else None
        if self._device is not None:
            check_device(DEVICES[scheme], place)
        if not re.fullmatch(r"[\w.-]{1,80}", name):
            raise UsageError(f"name {name!r}; allowed: letters, digits, `_`, `.` and `-`")
        self._url, self._bounds = url, bounds
        files = urlsplit(url).path.endswith(".m3u8")
        self._silence = bounds.silence_seconds * (_BETWEEN_FILES if files else 1)
        self.folder, self.name = folder, name
        self._changed = Condition()
        self._waiting: deque[LiveSegment] = deque()
        self._ended = False
        self._newest = datetime.min  # when a segment was recorded
        self._gop = 0.0  # the longest time between key pictures lately
        self.lost = self.dropped = 0
        self.fault: str | None = None  # why there is no connection now
        self._thread = Thread(target=self._run, name=f"live {name}", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(f".{self.name}-*.mkv"):  # of a process that was killed
            left.unlink(missing_ok=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End; what was begun is a segment."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join(3 * self._silence + 5)

    def take(self, seconds: float) -> LiveSegment | None:
        """Return the oldest segment that waits, after at most so long; None where there is none."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended, seconds)
            return self._waiting.popleft() if self._waiting else None

    def left(self, known: Container[str]) -> list[LiveSegment]:
        """Return segments in the folder whose names are not known: who wrote them was killed."""
        found = list[LiveSegment]()
        for path in sorted(self.folder.glob(f"{self.name}-*.mkv")):
            if path.name not in known:
                with suppress(ValueError, VideoError):  # another name, or no video
                    at = datetime.strptime(path.name, f"{self.name}-{_TIME}.mkv")
                    found.append(LiveSegment(path, at, probe(path).duration_seconds or 0.0))
        return found

    def _run(self) -> None:
        wait = _FIRST_WAIT
        while True:
            newest = self._newest
            try:
                with self._connect() as source:
                    self.fault = None
                    self._record(source)
                self.fault = "the stream ended"
            except av.ExitError:
                self.fault = f"nothing came for {self._bounds.silence_seconds:g} s"
            except (av.FFmpegError, OSError, ValueError) as error:
                self.fault = str(getattr(error, "strerror", None) or error)
            if self._is_ended():
                return
            self.lost += 1
            log.info("%s: %s; trying again", self.name, self.fault)
            wait = _FIRST_WAIT if self._newest > newest else wait  # it brought something
            with self._changed:
                self._changed.wait_for(self._is_ended, wait)
            if self._is_ended():
                return
            wait = min(2 * wait, _LONGEST_WAIT)

    def _is_ended(self) -> bool:
        return self._ended

    def _connect(self) -> InputContainer:
        silence = self._bounds.silence_seconds
        if self._device is not None:
            place = self._url.partition("://")[2]
            return av.open(place, format=self._device, timeout=(silence, silence))
        return av.open(self._url, options=dict(_OPTIONS), timeout=(silence, self._silence))

    def _record(self, source: InputContainer) -> None:
        if not source.streams.video:
            raise ValueError("the stream has no video")
        stream = source.streams.video[0]
        how = _RawWriting if stream.codec_context.name == "rawvideo" else _Writing
        writing: _Writing | None = None
        own = source.format.name in _WITHOUT_CLOCK  # dated as they come
        began = heard = monotonic()
        try:
            for packet in source.demux(stream):
                if self._ended:
                    return
                if own and packet.time_base:
                    packet.pts = packet.dts = round((monotonic() - began) / packet.time_base)
                if packet.dts is None or packet.size == 0:
                    continue
                silent = monotonic() - heard >= self._silence
                if writing is not None and self._is_over(writing, packet):
                    self._finish(writing)
                    writing = None
                if writing is None and packet.is_keyframe:
                    writing = how.begin(self.folder, self.name, stream)
                if writing is not None:
                    writing.put(packet)
                if silent:  # libav gives up the picture in hand, and would go on without the next
                    raise TimeoutError(f"nothing came for {self._silence:g} s")
                heard = monotonic()
        finally:
            if writing is not None:
                self._finish(writing)

    def _is_over(self, writing: "_Writing", packet: "Packet[VideoStream]") -> bool:
        if writing.size > self._bounds.bytes or writing.jumps(packet):
            return True
        seconds = self._bounds.segment_seconds
        return packet.is_keyframe and writing.is_full(packet, seconds, self._gop)

    def _finish(self, writing: "_Writing") -> None:
        segment = writing.close(after=self._newest)
        if segment is None:
            return
        self._newest, self._gop = segment.recorded_at, max(writing.gop, _FADES * self._gop)
        with self._changed:
            self._waiting.append(segment)
            while len(self._waiting) > self._bounds.waiting:
                late = self._waiting.popleft()
                late.path.unlink(missing_ok=True)
                self.dropped += 1
                log.warning("%s: %s was dropped, too much waits", self.name, late.path.name)
            self._changed.notify_all()


class _Writing:
    """A segment that is being written, under a name that nobody looks for."""

    def __init__(
        self, path: Path, name: str, out: OutputContainer, copy: VideoStream, since: datetime
    ) -> None:
        self._path, self._name, self._out, self._copy = path, name, out, copy
        self._since = since  # by the picture that came least late: those that waited come at once
        self._first: int | None = None
        self._last = 0
        self._seconds = 0.0
        self._key = 0.0  # when the newest key picture was
        self.gop = 0.0  # the longest time between two, and to the one it ends before
        self.size = 0

    @classmethod
    def begin(cls, folder: Path, name: str, stream: VideoStream) -> Self:
        """Begin a file for a stream that is copied as it is."""
        since = _now()
        path = folder / f".{_name_of(name, since)}"
        out = av.open(str(path), "w", format="matroska")
        return cls(path, name, out, cls._stream_in(out, stream), since)

    @staticmethod
    def _stream_in(out: OutputContainer, stream: VideoStream) -> VideoStream:
        return out.add_stream_from_template(stream)

    def lasts(self, packet: "Packet[VideoStream]") -> float:
        """How long it would be with a packet."""
        assert packet.dts is not None
        assert packet.time_base is not None
        return float((packet.dts - (self._first or 0)) * packet.time_base)

    def is_full(self, key: "Packet[VideoStream]", seconds: float, gop: float) -> bool:
        """Whether, until another key picture, it would be further from its length, or too long.

        `gop` is how long that took before. A tenth too long is not: no clock is even. Nothing
        shorter than a half is full.
        """
        lasts = self.lasts(key)
        self.gop = max(self.gop, lasts - self._key)
        until = lasts + max(self.gop, gop)
        return lasts >= seconds / 2 and (
            until > _LENIENT * seconds or seconds - lasts <= until - seconds
        )

    def jumps(self, packet: "Packet[VideoStream]") -> bool:
        """Whether the clock of the stream was set back, or far ahead: that is another segment.

        What is late by little, or at the same time as the picture before it, is not.
        """
        assert packet.dts is not None
        assert packet.time_base is not None
        if self._first is None:
            return False
        step = float((packet.dts - self._last) * packet.time_base)
        return step < -_SMOOTHED or step > 60

    def put(self, packet: "Packet[VideoStream]") -> None:
        """Write a packet, with times that begin at zero."""
        assert packet.dts is not None
        if self._first is None:
            self._first, self._last = packet.dts, packet.dts - 1
        packet.dts = max(packet.dts, self._last + 1)  # times rise
        packet.pts = None if packet.pts is None else max(packet.pts, packet.dts)
        self._last = packet.dts
        self._seconds = self.lasts(packet)
        if packet.is_keyframe:
            self._key = self._seconds
        self._since = min(self._since, _now() - timedelta(seconds=self._seconds))
        packet.pts = (packet.dts if packet.pts is None else packet.pts) - self._first
        packet.dts -= self._first
        self._write(packet)

    def _write(self, packet: "Packet[VideoStream]") -> None:
        self.size += packet.size
        packet.stream = self._copy
        self._out.mux_one(packet)

    def close(self, after: datetime) -> LiveSegment | None:
        """End the file and give it its name, of a later time than one; None where nothing came."""
        with suppress(av.FFmpegError):
            self._end()
            self._out.close()
        if self._first is None or not self._path.exists():
            self._path.unlink(missing_ok=True)
            return None
        self._since = max(self._since, after + timedelta(microseconds=1))
        while (path := self._path.with_name(_name_of(self._name, self._since))).exists():
            self._since += timedelta(microseconds=1)
        self._path.replace(path)
        return LiveSegment(path, self._since, self._seconds)

    def _end(self) -> None:
        """Write what is still to be written."""


class _RawWriting(_Writing):
    """One of raw pictures, as H.264 with a key picture each second."""

    @staticmethod
    def _stream_in(out: OutputContainer, stream: VideoStream) -> VideoStream:
        rate = stream.average_rate or 30
        made = out.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "23"})
        made.codec_context.time_base = Fraction(1, 1000)  # cameras keep no even pace
        made.codec_context.gop_size = max(1, round(rate))
        made.codec_context.max_b_frames = 0
        made.width, made.height = stream.width // 2 * 2, stream.height // 2 * 2
        made.pix_fmt = "yuv420p"
        return made

    def _write(self, packet: "Packet[VideoStream]") -> None:
        for frame in packet.decode():
            frame.pict_type = PictureType.NONE  # raw ones are all key pictures
            self._mux(self._copy.encode(frame.reformat(self._copy.width, self._copy.height)))

    def _end(self) -> None:
        self._mux(self._copy.encode(None))

    def _mux(self, packets: "list[Packet[VideoStream]]") -> None:
        for packet in packets:
            self.size += packet.size
            self._out.mux_one(packet)


def check_device(folder: Path, place: str) -> None:
    """Raise UsageError unless there is a camera of that name in a folder."""
    there = sorted(map(str, folder.glob("video[0-9]*")))
    if place not in there:
        known = ", ".join(there) or f"none, there is no {folder}/video0"
        raise UsageError(f"no camera {place[:80]!r}; allowed: {known}")


def _name_of(camera: str, since: datetime) -> str:
    return f"{camera}-{since.strftime(_TIME)}.mkv"


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def shown_url(url: str) -> str:
    """Return an address without what may be secret: a name and password, what is asked for."""

    def shown(found: re.Match[str]) -> str:
        host, path, asked = found.groups()
        if not _HOST.fullmatch(host):  # a password with a slash in it
            return "//…"
        return f"//{host}{path}{'?…' if asked else ''}"

    return _AUTHORITY.sub(shown, url, count=1)


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of a stream stays: what is older or beyond goes, the oldest first."""

    hours: float | None = None
    bytes: int | None = None

    def beyond(self, kept: list[tuple[datetime, int]], now: datetime) -> int:
        """Return how many of the oldest go, of some given oldest first with their sizes."""
        going = 0
        if self.hours is not None:
            oldest = now - timedelta(hours=self.hours)
            going = sum(at < oldest for at, _ in kept)
        if self.bytes is not None:
            left = sum(size for _, size in kept[going:])
            while left > self.bytes and going < len(kept) - 1:
                left -= kept[going][1]
                going += 1
        return going
