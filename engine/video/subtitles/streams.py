"""Text streams in a video's own container."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from av.packet import Packet
from av.stream import Stream
from av.subtitles.stream import SubtitleStream

from engine.objects.address import Place
from engine.video.container import open_video
from engine.video.subtitles import subrip, webvtt
from engine.video.subtitles.cue import CuesRead
from engine.video.subtitles.letters import read_letters
from engine.video.subtitles.subrip import PLACE


@dataclass(frozen=True, slots=True)
class TextStream:
    """A stream of text: its number in the file, how it is coded, and its language, where known."""

    number: int
    codec: str
    language: str | None

    @property
    def source(self) -> str:
        """Return what it is called beside files."""
        return f"stream {self.number}"


def text_streams(path: Place) -> list[TextStream]:
    """Return the streams of a video that hold text; only headers are read."""
    with open_video(path) as (container, _):
        return [_described(stream) for stream in container.streams.subtitles if _is_text(stream)]


def read_streams(path: Place) -> Iterator[tuple[TextStream, CuesRead]]:
    """Read all text streams of a video, in one pass through the file."""
    with open_video(path) as (container, _):
        streams = [stream for stream in container.streams.subtitles if _is_text(stream)]
        found = {stream.index: (_described(stream), CuesRead()) for stream in streams}
        for packet in container.demux(streams) if streams else ():
            stream, reading = found[packet.stream.index]
            _take(packet, _TEXTS[stream.codec], reading)
    yield from found.values()


def _take(packet: "Packet[Stream]", text_of: Callable[[bytes], str], reading: CuesRead) -> None:
    data = bytes(packet)
    if not data:
        return
    text = text_of(data)
    if packet.pts is None or packet.time_base is None:
        if text.strip():
            reading.note("a cue has no time")
        return
    if not text.strip():
        return
    start = float(packet.pts * packet.time_base)
    length = float((packet.duration or 0) * packet.time_base)
    reading.add(start, start + length, text, f"the cue at {start:.3f} s")


def _is_text(stream: SubtitleStream) -> bool:
    return stream.codec_context is not None and stream.codec_context.name in _TEXTS


def _described(stream: SubtitleStream) -> TextStream:
    language = stream.metadata.get("language", "und").lower()
    return TextStream(stream.index, stream.codec_context.name, _known(language))


def _known(language: str) -> str | None:
    return None if language in ("und", "") else language[:16]


def _letters(data: bytes) -> str:
    return read_letters(data)[0]


def _mov_text(data: bytes) -> str:
    """Read a sample: its length in two bytes, its text, then styles."""
    length = int.from_bytes(data[:2])
    return _letters(data[2 : 2 + length])


def _ass(data: bytes) -> str:
    """Read a dialogue as Matroska stores it: eight fields, then the text."""
    text = _letters(data).split(",", 8)[-1]
    for mark, put in (("\\N", "\n"), ("\\n", "\n"), ("\\h", " ")):
        text = text.replace(mark, put)
    return PLACE.sub("", text)


_TEXTS: Final[Mapping[str, Callable[[bytes], str]]] = {
    "mov_text": _mov_text,
    "subrip": lambda data: subrip.plain(_letters(data)),
    "srt": lambda data: subrip.plain(_letters(data)),
    "webvtt": lambda data: webvtt.plain(_letters(data)),
    "ass": _ass,
    "ssa": _ass,
    "text": _letters,
}
