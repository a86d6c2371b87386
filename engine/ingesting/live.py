"""Live streams as files: cut at key pictures as they come, within bounds, connected again."""

import logging
import re
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Condition, Thread
from time import monotonic
from typing import Self

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from engine.errors import UsageError
from engine.video.container import FORMATS
from engine.video.limits import MOST_PIXELS

log = logging.getLogger(__name__)
SCHEMES = ("rtsp", "rtsps", "http", "https", "tcp", "udp", "srt")
_OPTIONS = {
    "protocol_whitelist": "rtsp,rtsps,rtp,rtcp,srtp,http,https,httpproxy,tcp,udp,tls,crypto,srt",
    "format_whitelist": f"{FORMATS},rtsp,sdp,rtp,hls",
    "rtsp_transport": "tcp",
    "max_pixels": str(MOST_PIXELS),
}
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds before another attempt to connect
_SECRET = re.compile(r"//[^/@]*@")


@dataclass(frozen=True, slots=True)
class LiveSegment:
    """A file that holds what came of a stream in some seconds."""

    path: Path
    recorded_at: datetime  # of its first picture, by the clock here: UTC without a zone
    seconds: float


@dataclass(frozen=True, slots=True)
class LiveBounds:
    """How a stream is cut, and how much of it may wait."""

    segment_seconds: float = 10.0  # at least; it ends before the next key picture
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
        scheme = url.partition("://")[0]
        if scheme not in SCHEMES or "://" not in url:
            raise UsageError(f"{shown_url(url)!r} is no stream; allowed: {', '.join(SCHEMES)}")
        if not re.fullmatch(r"[\w.-]{1,80}", name):
            raise UsageError(f"name {name!r}; allowed: letters, digits, `_`, `.` and `-`")
        self._url, self._bounds = url, bounds
        self.folder, self.name = folder, name
        self._changed = Condition()
        self._waiting: deque[LiveSegment] = deque()
        self._ended = False
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
        self._thread.join(3 * self._bounds.silence_seconds + 5)

    def take(self, seconds: float) -> LiveSegment | None:
        """Return the oldest segment that waits, after at most so long; None where there is none."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended, seconds)
            return self._waiting.popleft() if self._waiting else None

    def _run(self) -> None:
        wait = _FIRST_WAIT
        while True:
            began = monotonic()
            try:
                with self._connect() as source:
                    self.fault = None
                    self._record(source)
                self.fault = "the stream ended"
            except (av.FFmpegError, OSError, ValueError) as error:
                self.fault = str(getattr(error, "strerror", None) or error)
            if self._is_ended():
                return
            self.lost += 1
            log.info("%s: %s; trying again", self.name, self.fault)
            wait = _FIRST_WAIT if monotonic() - began > _LONGEST_WAIT else wait
            with self._changed:
                self._changed.wait_for(self._is_ended, wait)
            if self._is_ended():
                return
            wait = min(2 * wait, _LONGEST_WAIT)

    def _is_ended(self) -> bool:
        return self._ended

    def _connect(self) -> InputContainer:
        silence = self._bounds.silence_seconds
        return av.open(self._url, options=dict(_OPTIONS), timeout=(silence, silence))

    def _record(self, source: InputContainer) -> None:
        if not source.streams.video:
            raise ValueError("the stream has no video")
        stream = source.streams.video[0]
        writing: _Writing | None = None
        try:
            for packet in source.demux(stream):
                if self._ended:
                    return
                if packet.dts is None or packet.size == 0:
                    continue
                if writing is not None and self._is_over(writing, packet):
                    self._finish(writing)
                    writing = None
                if writing is None and packet.is_keyframe:
                    writing = _Writing.begin(self.folder, self.name, stream)
                if writing is not None:
                    writing.put(packet)
        finally:
            if writing is not None:
                self._finish(writing)

    def _is_over(self, writing: "_Writing", packet: "Packet[VideoStream]") -> bool:
        if writing.size > self._bounds.bytes or writing.jumps(packet):
            return True
        return packet.is_keyframe and writing.lasts(packet) >= self._bounds.segment_seconds

    def _finish(self, writing: "_Writing") -> None:
        segment = writing.close()
        if segment is None:
            return
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

    def __init__(self, path: Path, out: OutputContainer, copy: VideoStream, since: datetime):
        self._path, self._out, self._copy, self._since = path, out, copy, since
        self._first: int | None = None
        self._last = 0
        self._seconds = 0.0
        self.size = 0

    @classmethod
    def begin(cls, folder: Path, name: str, stream: VideoStream) -> Self:
        """Begin a file for a stream that is copied as it is."""
        since = datetime.now(UTC).replace(tzinfo=None)
        while (path := _path_of(folder, name, since)).exists():
            since += timedelta(microseconds=1)
        path = path.with_name(f".{path.name}")
        out = av.open(str(path), "w", format="matroska")
        return cls(path, out, out.add_stream_from_template(stream), since)

    def lasts(self, packet: "Packet[VideoStream]") -> float:
        """How long it would be with a packet."""
        assert packet.dts is not None
        assert packet.time_base is not None
        return float((packet.dts - (self._first or 0)) * packet.time_base)

    def jumps(self, packet: "Packet[VideoStream]") -> bool:
        """Whether the clock of the stream was set back, or far ahead: that is another segment."""
        assert packet.dts is not None
        assert packet.time_base is not None
        if self._first is None:
            return False
        step = float((packet.dts - self._last) * packet.time_base)
        return step <= 0 or step > 60

    def put(self, packet: "Packet[VideoStream]") -> None:
        """Write a packet, with times that begin at zero."""
        assert packet.dts is not None
        self._first = packet.dts if self._first is None else self._first
        self._last = packet.dts
        self._seconds = self.lasts(packet)
        self.size += packet.size
        packet.pts = (packet.dts if packet.pts is None else packet.pts) - self._first
        packet.dts -= self._first
        packet.stream = self._copy
        self._out.mux_one(packet)

    def close(self) -> LiveSegment | None:
        """End the file and give it its name; None where nothing came."""
        with suppress(av.FFmpegError):
            self._out.close()
        if self._first is None or not self._path.exists():
            self._path.unlink(missing_ok=True)
            return None
        path = self._path.with_name(self._path.name[1:])
        self._path.replace(path)
        return LiveSegment(path, self._since, self._seconds)


def _path_of(folder: Path, name: str, since: datetime) -> Path:
    return folder / f"{name}-{since.strftime('%Y-%m-%dT%H-%M-%S.%f')}Z.mkv"


def shown_url(url: str) -> str:
    """Return an address without the name and password in it."""
    return _SECRET.sub("//", url)


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
