"""What stored videos look like: frames as JPEG, clips as MP4, read from their files."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from PIL import Image

from engine.errors import (
    CorruptVideoError,
    ObjectError,
    SourceChangedError,
    UsageError,
    VideoError,
)
from engine.objects.address import place_of
from engine.objects.faults import ObjectGoneError
from engine.objects.head import identity
from engine.objects.remote import head_of
from engine.storage.records import Video
from engine.storage.store import Store
from engine.video.decode import get_frame_at
from engine.video.gop import Gop
from engine.video.stills import stills
from engine.video.write import cut_clip

_QUALITY = 82  # of a JPEG
_IN_A_ROW = 10  # tiles of a sprite


@dataclass(frozen=True, slots=True)
class Footage:
    """A stored video that has frames, and how to enter its bytes."""

    video: Video
    gops: Sequence[Gop]

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Have something drawn; SourceChangedError where the object is not what was ingested.

        That is looked at afterwards, whatever came of it: so no change falls in between.
        """
        try:
            yield
        finally:
            if source_of(self.video).changed:
                raise SourceChangedError(
                    f"{self.video.name!r} has changed since it was ingested: other pictures lie"
                    f" at its address now; ingest it again",
                    path=self.video.path,
                )

    @property
    def span(self) -> tuple[float, float]:
        """The seconds from its first frame to the end of its last."""
        return self.gops[0].start_seconds, self.gops[-1].stop_seconds

    def frame(self, seconds: float, width: int) -> bytes:
        """Return the frame shown at an instant as JPEG, at most `width` wide."""
        if not isfinite(seconds):
            raise UsageError(f"seconds {seconds}; allowed: a time in the video")
        if width < 1:
            raise UsageError(f"width {width}; allowed: 1 or more")
        with self._unchanged():
            frame = get_frame_at(self.video.path, seconds, gops=self.gops)
        picture = Image.fromarray(frame.image)
        if picture.width > width:
            picture = picture.resize((width, max(1, picture.height * width // picture.width)))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=_QUALITY)
        return buffer.getvalue()

    def sprite(self, tiles: int, width: int) -> bytes:
        """Return a JPEG of `tiles` pictures, ten in a row, the longer side of each `width`.

        Tile n shows the middle of the n-th of so many equal parts of the video; where groups of
        pictures are shorter than a part, the first picture of the group that this lies in.
        """
        for name, given, most in (("tiles", tiles, 200), ("width", width, 320)):
            if not 1 <= given <= most:
                raise UsageError(f"{name} {given}; allowed: 1 to {most}")
        first, last = self.span
        part = (last - first) / tiles
        instants = [first + (number + 0.5) * part for number in range(tiles)]
        sheet: Image.Image | None = None
        with self._unchanged():
            pictures = list(stills(self.video.path, instants, gops=self.gops))
        for number, picture in pictures:
            if sheet is None:
                scale = width / max(picture.shape[:2])
                high, wide = (max(1, round(side * scale)) for side in picture.shape[:2])
                rows = -(-tiles // _IN_A_ROW)
                sheet = Image.new("RGB", (wide * min(tiles, _IN_A_ROW), high * rows))
            row, column = divmod(number, _IN_A_ROW)
            tile = Image.fromarray(picture).resize((wide, high))
            sheet.paste(tile, (column * wide, row * high))
        if sheet is None:
            raise CorruptVideoError(
                f"{self.video.name} shows nothing that can be decoded", path=self.video.path
            )
        buffer = io.BytesIO()
        sheet.save(buffer, "JPEG", quality=_QUALITY)
        return buffer.getvalue()

    def clip(self, start_seconds: float, stop_seconds: float, path: Path) -> Path:
        """Cut `[start, stop)` into an MP4 that browsers play."""
        first, last = self.span
        if not (start_seconds < last and stop_seconds > first):
            given = f"start {start_seconds:g}, stop {stop_seconds:g}"
            raise UsageError(f"{given}; the video is {first:g} to {last:g}")
        with self._unchanged():
            cut_clip(self.video.path, max(start_seconds, 0.0), stop_seconds, path, gops=self.gops)
        return path


@dataclass(frozen=True, slots=True)
class SourceState:
    """Whether what a video is read from is gone, or another; None where that could not be asked."""

    gone: bool | None
    changed: bool | None


def source_of(video: Video) -> SourceState:
    """Ask what lies where a video is; of a file of this machine whether it is there alone."""
    place = place_of(video.path)
    if isinstance(place, Path):
        return SourceState(not place.exists(), None)
    try:
        head = head_of(place)
    except ObjectGoneError:
        return SourceState(gone=True, changed=None)
    except ObjectError:
        return SourceState(None, None)
    return SourceState(gone=False, changed=identity(place, head) != video.content_hash)


def footage_of(store: Store, video: int | str) -> Footage:
    """Return what a stored video's frames are read from."""
    found = store.catalog.video(video)
    gops = [
        Gop(g.index, g.start_seconds, g.stop_seconds, g.num_packets, g.key_pts)
        for g in store.catalog.gops(found.video_id)
    ]
    if not gops:
        raise VideoError(
            f"{found.name!r} has no frames to show; its status is {found.status}", path=found.path
        )
    return Footage(found, gops)


def remove_video(store: Store, video: int | str) -> None:
    """Remove a video with its rows, and the files of it that lie in the data folder itself."""
    video_id = store.catalog.video(video).video_id
    uploads = uploads_of(store, video_id)
    store.catalog.remove_video(video_id)
    for path in uploads:
        path.unlink(missing_ok=True)


def drop_copies(store: Store, video: int | str) -> None:
    """Of uploads of the same content keep the last, which the video is read from."""
    found = store.catalog.video(video)
    current, copies = place_of(found.path), uploads_of(store, found.video_id)
    if current in copies:
        for path in copies:
            if path != current:
                path.unlink(missing_ok=True)


def uploads_of(store: Store, video_id: int) -> list[Path]:
    """Return the files of a video, under whatever name, that lie in the data folder itself."""
    paths = [place_of(path) for path in store.catalog.paths(video_id)]
    return [p for p in paths if isinstance(p, Path) and p.parent == store.layout.uploads]
