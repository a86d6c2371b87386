"""What happens in stored videos' clips: classified on demand, and kept as a space of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
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
from engine.search.work import ActionWork
from engine.storage import row_id
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from schemas.tables import CLIPS

if TYPE_CHECKING:
    import torch

    from engine.ingesting.plan import Source
    from engine.vision.action import ActionModel

TOGETHER = 32  # clips that are decoded, classified and stored at once: bounds memory
STRATEGY = "dense"


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbouring clips of one video that are not stored."""

    video_id: int
    places: NDArray[np.int64]  # of their rows in the batch
    clips: NDArray[np.int32]
    starts: NDArray[np.float64]
    stops: NDArray[np.float64]


class StoredActions:
    """An action model over a store; the model is loaded when its labels or clips are asked for.

    Rows lie in the model's own space as those of frames do: a clip is a row, and its vector holds
    the square roots of its probabilities, which have length 1.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._lock = Lock()

    @cached_property
    def model(self) -> "ActionModel":
        """The model."""
        from engine.vision.action import load_action_model  # torch: seconds

        settings = self._settings
        return load_action_model(settings.action_model, device=settings.device)

    @property
    def caution(self) -> str | None:
        """What has to be known before a label is relied on."""
        return caution(self._settings.action_model, "action model")

    @property
    def labels(self) -> tuple[str, ...]:
        """What the model tells apart."""
        return self.model.labels

    @property
    def space(self) -> str:
        """The key of the model's space."""
        return self.model.space.key

    def place(self, label: str) -> int:
        """Return a label's place; raises UsageError for one that the model does not know."""
        return self.model.label_index(label)

    def clips(self, gops: pa.Table) -> pa.Table:
        """Spans of the model's length, one after the other from each video's first frame.

        What is left at the end has a span that reaches back over the one before it. A video that
        is shorter than one span has none.
        """
        videos = gops.column("video_id").to_numpy()
        starts, stops = (gops.column(n).to_numpy() for n in ("start_seconds", "stop_seconds"))
        length, rest = self.model.seconds, 0.5 / self.model.fps
        found: list[tuple[NDArray[Any], ...]] = []
        for video in np.unique(videos).tolist():
            own = videos == video
            first, last = float(starts[own].min()), float(stops[own].max())
            count = int((last - first) / length + 1e-6)
            begins = first + length * np.arange(count)
            if count and last - (first + count * length) > rest:
                begins = np.append(begins, last - length)
            numbers = np.arange(len(begins), dtype=np.int32)
            found.append((np.full(len(begins), video, np.int64), numbers, begins))
        columns = [np.concatenate(column) for column in zip(*found, strict=True)] if found else []
        if not columns:
            return CLIPS.empty_table()
        ids, numbers, begins = columns
        return pa.table([ids, numbers, begins, begins + length], schema=CLIPS)

    def too_short(self, gops: pa.Table) -> str | None:
        """Say how many videos have no clip, for they are shorter than one; None: all have some."""
        have = len(np.unique(self.clips(gops).column("video_id").to_numpy()))
        without = len(np.unique(gops.column("video_id").to_numpy())) - have
        if not without:
            return None
        are = "1 video is" if without == 1 else f"{without:,} videos are"
        return f"{are} shorter than a clip of {self.model.seconds:g} s, and without any"

    def stored(self, clips: pa.Table | pa.RecordBatch) -> NDArray[np.bool_]:
        """Tell which clips have been classified before."""
        ids, _ = self._known(clips)
        return np.isin(_row_ids(clips), ids)

    def classify(self, clips: pa.RecordBatch, context: Context) -> NDArray[np.float32]:
        """Probabilities `[n, C]` of clips, from the store or made now; NaN where that cannot be."""
        wanted = _row_ids(clips)
        found = np.full((len(wanted), len(self.labels)), np.nan, np.float32)
        self._fill(found, clips, wanted)
        absent = _absent(found)
        done, begun, ended = int((~absent).sum()), perf_counter(), False
        if absent.any() and not self._store.read_only:
            with self._lock:
                self._fill(found, clips, wanted)  # another statement may have made them meanwhile
                for run in _runs(clips, _absent(found)):
                    check_awaited()
                    if (left := context.seconds_left) is not None and left <= 0:
                        ended = True
                        break
                    self._make(run, found)
        made = int((~_absent(found)).sum()) - done
        whole = done + made == len(wanted)
        context.work.actions.append(ActionWork(done, made, perf_counter() - begun, whole, ended))
        return found

    def _fill(
        self, found: NDArray[np.float32], clips: pa.RecordBatch, wanted: NDArray[np.int64]
    ) -> None:
        ids, vectors = self._known(clips)
        if not len(ids):
            return
        at = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
        here = ids[at] == wanted
        found[here] = vectors[at[here]].astype(np.float32) ** 2

    def _known(
        self, clips: pa.Table | pa.RecordBatch
    ) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        """Ids, rising, and vectors of what is stored of the clips' videos."""
        videos = np.unique(clips.column("video_id").to_numpy()).tolist()
        empty = np.empty(0, np.int64), np.empty((0, len(self.labels)), np.float16)
        try:
            columns = ["row_id", "embedding"]
            rows = self._store.rows(self.model.space.key, videos, columns)
        except NotFoundError:  # nothing was ever classified by this model
            return empty
        if not len(rows):
            return empty
        vectors = rows.column("embedding").combine_chunks().flatten()
        shape = len(rows), len(self.labels)
        ids = rows.column("row_id").to_numpy()
        order = np.argsort(ids)
        return ids[order], vectors.to_numpy(zero_copy_only=False).reshape(shape)[order]

    def _make(self, run: _Run, found: NDArray[np.float32]) -> None:
        """Decode, classify and store clips; one of which a frame is missing is left out."""
        from engine.ingesting.tasks import stored_source  # PyAV and torch

        try:
            source = stored_source(self._store, run.video_id, self.model.fps)
            pixels, whole = self._decode(source, run)
        except VideoError:
            return
        if not whole.any():
            return
        probabilities = self.model.classify(pixels[np.flatnonzero(whole)]).cpu().numpy()
        found[run.places[whole]] = probabilities
        self._keep(run, whole, probabilities)

    def _decode(self, source: "Source", run: _Run) -> tuple["torch.Tensor", NDArray[np.bool_]]:
        import torch

        from engine.video.sample import get_frames_at
        from engine.vision.backbone.preprocess import prepare

        config, fps = self.model.tower.config, self.model.fps
        shape = (len(run.clips), config.num_frames, 3, config.image_size, config.image_size)
        pixels = torch.zeros(shape, dtype=torch.uint8)
        shown = np.zeros(shape[:2], bool)
        wanted = [
            min(start + number / fps, stop)
            for start, stop in zip(run.starts.tolist(), run.stops.tolist(), strict=True)
            for number in range(config.num_frames)
        ]
        for at, frame in get_frames_at(source.path, wanted, gops=source.gops):
            place = divmod(at, config.num_frames)
            pixels[place] = prepare(frame.image, self.model.preprocessing)
            shown[place] = True
        return pixels, np.asarray(shown.all(1))

    def _keep(
        self, run: _Run, whole: NDArray[np.bool_], probabilities: NDArray[np.float32]
    ) -> None:
        store, key = self._store, self.model.space.key
        store.catalog.add_space(self.model.space)
        count = len(probabilities)
        rows = Rows(
            run.clips[whole],
            run.starts[whole],
            ["?"] * count,
            np.sqrt(probabilities),
            np.zeros(count, np.float32),
            np.zeros(count, np.float32),
            np.ones(count, bool),
        )
        sampling = Sampling(1 / self.model.seconds)
        span = float(run.starts[whole][0]), float(run.stops[whole][-1])
        stretch = int(run.clips[whole][0])
        store.write_part(run.video_id, key, sampling, STRATEGY, stretch, *span, rows)
        stored = store.embedded_frames(run.video_id, key, sampling, STRATEGY)
        # what statements have asked for is all that was ever planned
        store.finish_segment(run.video_id, key, sampling, STRATEGY, stored)


def _absent(found: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which clips nothing is known of."""
    return np.asarray(np.isnan(found).any(1))


def _row_ids(clips: pa.Table | pa.RecordBatch) -> NDArray[np.int64]:
    videos, numbers = (
        clips.column(name).to_numpy(zero_copy_only=False)
        if isinstance(clips, pa.RecordBatch)
        else clips.column(name).to_numpy()
        for name in ("video_id", "clip")
    )
    return np.asarray(row_id.pack(videos, numbers))


def _runs(clips: pa.RecordBatch, absent: NDArray[np.bool_]) -> Iterator[_Run]:
    """Yield what is absent, by video, neighbours together and at most so many."""
    names = ("video_id", "clip", "start_seconds", "stop_seconds")
    videos, numbers, starts, stops = (clips.column(name).to_numpy() for name in names)
    order = np.lexsort((numbers, videos))
    order = order[absent[order]]
    if not len(order):
        return
    apart = (np.diff(videos[order]) != 0) | (np.diff(numbers[order]) != 1)
    for part in np.split(order, np.flatnonzero(apart) + 1):
        for at in range(0, len(part), TOGETHER):
            own = part[at : at + TOGETHER]
            yield _Run(int(videos[own[0]]), own, numbers[own], starts[own], stops[own])
