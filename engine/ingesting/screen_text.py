"""What is written in the pictures of a video, read by an OCR extra, as lines of a transcript."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError, VideoError
from engine.ingesting.identify import stored_gops
from engine.ingesting.transcribe import Taken, put_read
from engine.storage.records import Video
from engine.storage.store import Store
from engine.video.sample import get_frames_at
from engine.video.subtitles.cue import CuesRead

SOURCE: Final = "screen"
_AT_ONCE: Final = 16  # pictures that are decoded together
_SURE: Final = 0.7  # of a text, by the reader's own score


@dataclass(frozen=True, slots=True)
class ScreenReader:
    """RapidOCR with the models that come with it: nothing is fetched."""

    engine: Any

    @classmethod
    def load(cls) -> "ScreenReader":
        """Load it; without the extra it is said how to get it."""
        try:
            from rapidocr import RapidOCR  # an extra, and slow to import
        except ImportError as error:
            raise UsageError(
                "reading text in pictures needs an extra: pip install 'dejavu-engine[ocr]'"
            ) from error
        loaded = RapidOCR(params={"Global.log_level": "error"})
        logging.getLogger("RapidOCR").setLevel(logging.ERROR)  # an empty picture is no warning
        return cls(loaded)

    @property
    def name(self) -> str:
        """Which reader it is: what was read by another is read anew."""
        return f"rapidocr {version('rapidocr')}"

    def read(self, image: NDArray[np.uint8]) -> str:
        """Return the texts of a picture `[H, W, 3]` from the top down, a line each."""
        found = self.engine(np.ascontiguousarray(image[..., ::-1]))  # as BGR
        if found.txts is None:
            return ""
        sure = [
            (float(np.asarray(box)[:, 1].mean()), text.strip())
            for box, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
            if score >= _SURE and text.strip()
        ]
        return "\n".join(text for _, text in sorted(sure))


def read_screens(
    store: Store, videos: Sequence[Video], reader: ScreenReader, every_seconds: float
) -> Iterator[tuple[str, Taken]]:
    """Read what is written in stored videos, a picture each so many seconds; yield what came.

    A video that the same reader has read as closely is left as it is.
    """
    if not every_seconds > 0:
        raise UsageError(f"every is {every_seconds:g} s; allowed: above 0")
    digest = f"{reader.name} every {every_seconds:g} s"
    for video in videos:
        if video.status == "quarantined":
            continue
        known = {part.source: part for part in store.transcripts.listed([video.video_id])}
        if SOURCE in known and known[SOURCE].digest == digest:
            part = known[SOURCE]
            yield video.name, Taken(SOURCE, part.num_lines, part.damaged, part.damage)
            continue
        try:
            reading = _read(store, video, reader, every_seconds)
        except VideoError as error:
            yield video.name, Taken(SOURCE, error=str(error))
            continue
        yield video.name, put_read(store, video.video_id, SOURCE, digest, reading)


def _read(store: Store, video: Video, reader: ScreenReader, every_seconds: float) -> CuesRead:
    """Read pictures in order; a text that stays is one line, from its first picture on."""
    gops, found = stored_gops(store, video.video_id), CuesRead()
    if not gops:
        return found
    first, last = gops[0].start_seconds, gops[-1].stop_seconds
    times = np.arange(first, last, every_seconds).tolist()
    begun, text = first, ""
    for at in range(0, len(times), _AT_ONCE):
        some = times[at : at + _AT_ONCE]
        shown = dict(get_frames_at(video.path, some, gops=gops))
        for place, seconds in enumerate(some):
            if place not in shown:
                found.note(f"{video.name} shows nothing at {seconds:.1f} s")
                continue
            now = reader.read(shown[place].image)
            if now != text:
                if text:
                    found.add(begun, seconds, text, video.name)
                begun, text = seconds, now
    if text:
        found.add(begun, last, text, video.name)
    return found
