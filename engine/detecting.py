"""What stands where in stored videos' frames: found on demand, and kept as a space of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.cage.ending import check_awaited
from engine.config import Settings
from engine.errors import NotFoundError, VideoError
from engine.knowledge import caution
from engine.operators.base import Context
from engine.search.work import DetectionWork
from engine.storage import row_id
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.tracking import Tracks
from schemas.tables import DETECTIONS

if TYPE_CHECKING:
    from engine.ingesting.plan import Source, Stretch
    from engine.vision.detect import Detector

TOGETHER = 16  # groups of pictures that are looked at before their rows are passed on
BATCH = 8  # pictures that are held at once: bounds memory
STRATEGY = "dense"
_NEAR = 1e-6  # seconds: a frame so little before a group of pictures is in it


@dataclass(frozen=True, slots=True)
class _Groups:
    """Groups of pictures of one video, in the order of time."""

    video_id: int
    spans: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class _Looked:
    """What is stored of a run's frames."""

    row_ids: NDArray[np.int64]  # rising
    frames: NDArray[np.int32]
    seconds: NDArray[np.float64]
    vectors: NDArray[np.float32]


class StoredDetections:
    """A detector over a store; the model is loaded when its labels or boxes are asked for.

    Rows lie in the detector's own space as those of frames do: a frame is a row, its vector holds
    the boxes that were found, and stretches of groups of pictures say what was looked at. Frames
    are those that embeddings have, where a video has any, so that they go by the same numbers.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._lock = Lock()

    @cached_property
    def model(self) -> "Detector":
        """The model."""
        from engine.vision.detect import load_detector  # torch: seconds

        return load_detector(self._settings.detector_model, device=self._settings.device)

    @property
    def caution(self) -> str | None:
        """What has to be known before a box is relied on."""
        return caution(self._settings.detector_model, "detector")

    @property
    def labels(self) -> tuple[str, ...]:
        """What the model tells apart."""
        return self.model.labels

    @property
    def space(self) -> str:
        """The key of the model's space."""
        return self.model.space.key

    def places(self, label: str) -> tuple[int, ...]:
        """Return where a label or what a word stands for is; unknown ones raise UsageError."""
        return self.model.places(label)

    def stored(self, gops: pa.Table, context: Context) -> NDArray[np.bool_]:
        """Tell which groups of pictures have been looked at before."""
        found = np.zeros(len(gops), bool)
        videos = gops.column("video_id").to_numpy()
        starts, stops = (gops.column(n).to_numpy() for n in ("start_seconds", "stop_seconds"))
        for video in np.unique(videos).tolist():
            at = np.flatnonzero(videos == video)
            run = _Groups(video, tuple(zip(starts[at].tolist(), stops[at].tolist(), strict=True)))
            found[at] = self._seen(run, self._rate(video, context))
        return found

    def found(self, gops: pa.Table, context: Context) -> Iterator[pa.Table]:
        """Yield the boxes in groups of pictures as rows of `detections`, some groups at a time."""
        from engine.vision.detect import MOST, Objects

        tracks: dict[int, Tracks] = {}
        followed: dict[int, float] = {}  # up to where: nothing is read twice
        for run in _runs(gops):
            looked = self._look(run, context)
            if looked is None or not len(looked.frames):
                continue
            own = tracks.setdefault(run.video_id, Tracks(MOST))
            stop = run.spans[-1][1]
            known = self._read(run.video_id, followed.get(run.video_id, -np.inf), stop)
            followed[run.video_id] = stop
            objects = Objects.unpacked(known.vectors)
            own.follow(known.frames, *(each.numpy() for each in objects.parts()))
            yield self._boxes(run.video_id, looked, own)

    def best(
        self, frames: pa.RecordBatch, places: Sequence[int], context: Context
    ) -> NDArray[np.float64]:
        """Return the best score of a label in each frame: 0 for none, NaN where not looked."""
        from engine.vision.detect import Objects

        videos, numbers, seconds = (
            frames.column(name).to_numpy(zero_copy_only=False)
            for name in ("video_id", "frame", "seconds")
        )
        scores = np.full(len(videos), np.nan)
        wanted = np.asarray(row_id.pack(videos, numbers))
        for run in _runs(_gops_of(context.reading.view.gops, videos, seconds)):
            looked = self._look(run, context)
            if looked is None or not len(looked.frames):
                continue
            objects = Objects.unpacked(looked.vectors)
            those = np.isin(objects.labels.numpy(), places)
            own = (objects.scores.numpy() * those).max(1)
            at = np.searchsorted(looked.row_ids, wanted).clip(max=len(looked.row_ids) - 1)
            here = looked.row_ids[at] == wanted
            scores[here] = own[at[here]]
        return scores

    def _rate(self, video_id: int, context: Context) -> float:
        """At which rate a video is looked at: that of its embeddings, where it has any."""
        from engine.ingesting.identify import stored_rate

        embedded = stored_rate(self._store, video_id, context.space)
        asked = context.options.fps or self._settings.fps
        return embedded or max(asked, self._rate_before(video_id))

    def _rate_before(self, video_id: int) -> float:
        """At which rate a video was looked at before; 0 where it was not."""
        from engine.ingesting.identify import stored_rate

        try:
            return stored_rate(self._store, video_id, self.space) or 0.0
        except NotFoundError:  # nothing was ever looked at by this model
            return 0.0

    def _seen(self, run: _Groups, rate: float) -> list[bool]:
        """Tell which of a run's groups are covered by what was looked at."""
        from engine.ingesting.plan import Stretch, uncovered

        done = self._done(run.video_id, rate)
        return [not uncovered([Stretch(*span)], done) for span in run.spans]

    def _done(self, video_id: int, rate: float) -> "list[Stretch]":
        from engine.ingesting.plan import Stretch

        try:
            spans = self._store.embedded_spans(video_id, self.space, Sampling(rate))
        except NotFoundError:  # nothing was ever looked at by this model
            return []
        return [Stretch(*span) for span in sorted(spans)]

    def _look(self, run: _Groups, context: Context) -> _Looked | None:
        """Return what is stored of a run, having looked at what is missing where that can be."""
        begun, made, ended = perf_counter(), 0, False
        rate = self._rate(run.video_id, context)
        known = sum(self._seen(run, rate))
        if known < len(run.spans) and not self._store.read_only:
            with self._lock:
                made, ended = self._make(run, rate, context)
        seen = self._seen(run, rate)
        note = DetectionWork(known, made, perf_counter() - begun, all(seen), ended)
        context.work.detections.append(note)
        if not any(seen):
            return None
        return self._read(run.video_id, run.spans[0][0], run.spans[-1][1])

    def _make(self, run: _Groups, rate: float, context: Context) -> tuple[int, bool]:
        """Decode, look at and store what is missing of a run.

        Returns how many frames that were, and whether the budget ended it.
        """
        from engine.ingesting.plan import cut, uncovered
        from engine.ingesting.tasks import stored_source  # PyAV and torch

        made = 0
        try:
            source = stored_source(self._store, run.video_id, rate)
            gops = source.between(run.spans[0][0], run.spans[-1][1])
            for part in uncovered(cut(gops, rate), self._done(run.video_id, rate)):
                check_awaited()
                if (left := context.seconds_left) is not None and left <= 0:
                    return made, True
                made += self._store_part(source, part)
        except VideoError:
            return made, False
        return made, False

    def _store_part(self, source: "Source", part: "Stretch") -> int:
        rows = self._detected(source, part)
        store, key, sampling = self._store, self.space, source.sampling
        store.catalog.add_space(self.model.space)
        number, span = part.number(source.origin_seconds), (part.start_seconds, part.stop_seconds)
        store.write_part(source.video_id, key, sampling, STRATEGY, number, *span, rows)
        stored = store.embedded_frames(source.video_id, key, sampling, STRATEGY)
        # what statements have asked for is all that was ever planned
        store.finish_segment(source.video_id, key, sampling, STRATEGY, stored)
        return len(rows.frame)

    def _detected(self, source: "Source", part: "Stretch") -> Rows:
        """Look at a stretch's sampled frames, so many pictures at a time."""
        from engine.video.decode import decode_range
        from engine.video.sample import sample_frames

        span = part.start_seconds, part.stop_seconds
        times = source.times(*span)
        pictures = (
            frame
            for frame in decode_range(source.path, *span, gops=source.gops)
            if not frame.corrupt
        )
        frames = sample_frames(pictures, times)
        columns: list[tuple[Any, float, str]] = []
        vectors = [np.empty((0, self.model.space.dimension), np.float32)]
        while batch := list(islice(frames, BATCH)):
            columns += [(frame.number, frame.seconds, frame.picture) for frame in batch]
            vectors.append(self.model.detect([frame.image for frame in batch]).packed())
        source.check_unchanged()
        count = len(columns)
        numbers, seconds, kinds = zip(*columns, strict=True) if count else ((), (), ())
        nothing = np.zeros(count, np.float32)
        return Rows(
            np.array(numbers, np.int32), np.array(seconds, np.float64), list(kinds),
            np.concatenate(vectors), nothing, nothing, np.ones(count, bool),
        )  # fmt: skip

    def _read(self, video_id: int, start_seconds: float, stop_seconds: float) -> _Looked:
        columns = ["row_id", "frame", "seconds", "embedding"]
        span = start_seconds - _NEAR, stop_seconds - _NEAR
        rows = self._store.rows(self.space, [video_id], columns, within=span)
        flat = rows.column("embedding").combine_chunks().flatten().to_numpy(zero_copy_only=False)
        vectors = flat.reshape(len(rows), self.model.space.dimension).astype(np.float32)
        ids, numbers, times = (rows.column(name).to_numpy() for name in columns[:-1])
        return _Looked(ids, numbers, times, vectors)

    def _boxes(self, video_id: int, looked: _Looked, tracks: Tracks) -> pa.Table:
        from engine.vision.detect import Objects

        objects = Objects.unpacked(looked.vectors)
        row, at = np.nonzero(objects.scores.numpy() > 0)
        names = np.array(self.labels, dtype=object)[objects.labels.numpy()[row, at]]
        sides = objects.boxes.numpy()[row, at].astype(np.float64).T
        columns: Sequence[Any] = (
            np.full(len(row), video_id, np.int64),
            looked.frames[row],
            looked.seconds[row],
            pa.array(names, pa.string()),
            objects.scores.numpy()[row, at].astype(np.float64),
            *sides,
            tracks.numbers(looked.frames[row], at),
        )
        return pa.table(list(columns), schema=DETECTIONS)


def _runs(gops: pa.Table) -> Iterator[_Groups]:
    """Yield groups of pictures by video, neighbours together and at most so many."""
    names = ("video_id", "start_seconds", "stop_seconds")
    videos, starts, stops = (gops.column(name).to_numpy() for name in names)
    order = np.lexsort((starts, videos))
    if not len(order):
        return
    far = np.abs(starts[order][1:] - stops[order][:-1]) > 1e-6
    apart = (np.diff(videos[order]) != 0) | far
    for part in np.split(order, np.flatnonzero(apart) + 1):
        for at in range(0, len(part), TOGETHER):
            own = part[at : at + TOGETHER]
            spans = zip(starts[own].tolist(), stops[own].tolist(), strict=True)
            yield _Groups(int(videos[own[0]]), tuple(spans))


def _gops_of(gops: pa.Table, videos: NDArray[np.int64], seconds: NDArray[np.float64]) -> pa.Table:
    """Return the groups of pictures in which frames lie."""
    names = ("video_id", "start_seconds", "stop_seconds")
    own, first, last = (gops.column(name).to_numpy() for name in names)
    kept = np.zeros(len(own), bool)
    for video in np.unique(videos).tolist():
        times = np.sort(seconds[videos == video])
        at = np.flatnonzero(own == video)
        after = np.searchsorted(times, first[at] - 1e-6)
        kept[at] = np.searchsorted(times, last[at] - 1e-6) > after
    return gops.filter(pa.array(kept))
