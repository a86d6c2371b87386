"""What is said in a video, taken in: from text streams of its file, and from files beside it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import pyarrow as pa

from engine.errors import EngineError, StoreError, VideoError
from engine.ingesting.identify import stored_gops
from engine.objects.address import Place, place_of
from engine.objects.remote import is_there
from engine.storage.records import Transcript, Video
from engine.storage.store import Store
from engine.storage.transcripts import Said
from engine.video.subtitles.beside import Folders, language_of, read_bytes, read_file
from engine.video.subtitles.cue import CuesRead
from engine.video.subtitles.streams import read_streams, text_streams
from schemas.tables import LINES


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one source of lines."""

    source: str
    lines: int = 0
    damaged: int = 0  # cues of which something could not be read
    damage: str | None = None  # the first
    language: str | None = None
    fresh: bool = False  # read now; else it was stored already
    error: str | None = None  # why nothing could be read

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.source}: {self.error}"
        told = f"{self.lines:,} lines of {self.source}"
        told += f" ({self.language})" if self.language else ""
        if self.damaged:
            told += f", {self.damaged} cues damaged: {self.damage}"
        return told


def take_in(
    store: Store, video_id: int, path: Place, folders: Folders, *, fresh: bool = False
) -> list[Taken]:
    """Read all that is said of a video that is not stored yet; whatever goes wrong is told.

    Of a `fresh` video nothing is stored.
    """
    listed = [] if fresh else store.transcripts.listed([video_id])
    known = {part.source: part for part in listed}
    return [
        *_of_streams(store, video_id, path, known),
        *_of_files(store, video_id, path, folders, known),
    ]


def scan(store: Store, videos: Sequence[Video]) -> Iterator[tuple[str, list[Taken]]]:
    """Take in what is said in videos that are stored, beside each of their files."""
    folders = Folders()
    for video in videos:
        if video.status == "quarantined":
            continue
        paths = dict.fromkeys([video.path, *store.catalog.paths(video.video_id)])
        for path in map(place_of, paths):
            if is_there(path):
                yield video.name, take_in(store, video.video_id, path, folders)


def take_subtitles(
    store: Store,
    video_id: int,
    name: str,
    data: bytes,
    *,
    language: str | None = None,
    encoding: str | None = None,
) -> Taken:
    """Read a file of subtitles as what is said in a video, in the place of one of its name."""
    reading, _ = read_file(name, data, encoding)
    digest = sha256(data).hexdigest()  # an ingest then leaves it as it was read here
    language = language or language_of(name)
    return _put(store, video_id, name, language, digest, reading, _origin(store, video_id))


def put_read(
    store: Store,
    video_id: int,
    source: str,
    digest: str,
    reading: CuesRead,
    *,
    language: str | None = None,
) -> Taken:
    """Store lines that were read from a video itself, in its own time."""
    return _put(store, video_id, source, language, digest, reading, 0.0)


def _of_files(
    store: Store, video_id: int, path: Place, folders: Folders, known: dict[str, Transcript]
) -> Iterator[Taken]:
    for found in folders.beside(path):
        name = found.path.name
        try:
            data = read_bytes(found.path)
            digest = sha256(data).hexdigest()
            if name in known and known[name].digest == digest:
                yield _stored(known[name])
                continue
            reading, _ = read_file(name, data)
            origin = _origin(store, video_id)
            yield _put(store, video_id, name, found.language, digest, reading, origin)
        except StoreError:
            raise
        except EngineError as error:
            yield Taken(name, error=str(error))


def _of_streams(
    store: Store, video_id: int, path: Place, known: dict[str, Transcript]
) -> Iterator[Taken]:
    try:
        streams = text_streams(path)
        if all(stream.source in known for stream in streams):
            yield from (_stored(known[stream.source]) for stream in streams)
            return
        for stream, reading in read_streams(path):
            source, language = stream.source, stream.language
            yield _put(store, video_id, source, language, stream.codec, reading, 0.0)
    except VideoError as error:
        yield Taken("its text streams", error=str(error))


def _put(
    store: Store,
    video_id: int,
    source: str,
    language: str | None,
    digest: str,
    reading: CuesRead,
    origin_seconds: float,
) -> Taken:
    """Store lines, on the video's own timeline."""
    lines = sorted(reading.lines, key=lambda line: (line.start_seconds, line.stop_seconds))
    columns = [
        [line.start_seconds + origin_seconds for line in lines],
        [line.stop_seconds + origin_seconds for line in lines],
        [line.text for line in lines],
    ]
    table = pa.table(columns, schema=LINES)
    said = Said(source, language, digest, table, reading.damaged, reading.first_damage)
    store.transcripts.put(video_id, said)
    return Taken(source, len(lines), reading.damaged, reading.first_damage, language, fresh=True)


def _origin(store: Store, video_id: int) -> float:
    """Where a video's timeline begins: files beside it count from its first picture."""
    gops = stored_gops(store, video_id)
    return gops[0].start_seconds if gops else 0.0


def _stored(part: Transcript) -> Taken:
    return Taken(part.source, part.num_lines, part.damaged, part.damage, part.language)


def told(taken: Sequence[Taken]) -> str | None:
    """Return one line that says what is said in a video, None where nothing is."""
    return "; ".join(map(str, taken)) or None
