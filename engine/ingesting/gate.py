"""The decode gate: which groups of pictures need no decoding, judged before they are decoded."""

import logging
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import UnsupportedCodecError
from engine.ingesting.carry import (
    KEY,
    LEAST,
    CodedGroup,
    Drifts,
    Judged,
    draw_groups,
    groups_of,
    judge,
    pictures_for,
)
from engine.ingesting.plan import Source, Stretch, Task
from engine.ingesting.prepare import (
    Carrying,
    GateWord,
    Preparation,
    PreparedStretch,
    Ready,
    Shown,
    prepare_task,
    ready_frame,
    ready_on_gpu,
)
from engine.video.coded import CodedPictures, read_coded
from engine.video.container import reading
from engine.video.decode import Damage, decode_range
from engine.video.hardware import decode_on_gpu, pick
from engine.video.sample import any_in, get_frames_at
from engine.video.skip import CLOCK_SECONDS

logger = logging.getLogger(__name__)
FEWEST = 32  # groups of pictures; of fewer the audit would cost what the gate gains
WORTH = 0.1  # of the pictures: what the gate must save, its audit paid for
REMEMBERED = 64  # videos
WAIT_SECONDS = 0.2

Embed = Callable[[Tensor], NDArray[np.float32]]  # pixels [n, 3, S, S] to unit vectors [n, E]


class _OffError(Exception):
    """The gate is of no use for a video, for a reason."""


@dataclass(frozen=True, slots=True)
class Known:
    """A row that was embedded densely for the audit."""

    vector: NDArray[np.float32]
    picture: str


@dataclass(frozen=True, slots=True)
class DecodePlan:
    """What is decoded of a video, and whose vector each of its rows takes."""

    numbers: tuple[int, ...]  # of the rows
    shown: tuple[int, ...]  # the picture of each, by its place among all
    anchors: tuple[int, ...]  # the picture whose vector it takes
    known: Mapping[int, Known]  # rows that take none
    coded: CodedPictures
    drift: float  # mean of a carried row, as audited
    upper: float  # what carried rows add to the mean drift of all rows is at most this

    def planned(self, source: Source) -> int:
        """Return how many frames are to be encoded where `source.planned` rows are to be made."""
        taken = (anchor for row, anchor in enumerate(self.anchors) if row not in self.known)
        return ceil(len(set(taken)) * source.planned / max(1, source.frames(source.whole)))

    def rows(self, source: Source, stretch: Stretch) -> range:
        """Return the rows of a stretch."""
        times = source.times(stretch.start_seconds, stretch.stop_seconds)
        return range(bisect_left(self.numbers, times.first), bisect_left(self.numbers, times.stop))


@dataclass(slots=True)
class GatedVideo:
    """What became of one video; `plan` is None where the gate is off."""

    said: str
    plan: DecodePlan | None = None
    pictures: int = 0  # decoded for the audit
    embedded: int = 0
    decode_seconds: float = 0.0
    encode_seconds: float = 0.0

    def bill(self, item: PreparedStretch) -> PreparedStretch:
        """Say what the gate did, and once what its audit took."""
        used = None if self.plan is None else self.plan.upper
        word = GateWord(self.said, used, self.embedded, self.encode_seconds)
        told = replace(
            item,
            gate=word,
            decoded=item.decoded + self.pictures,
            decode_seconds=item.decode_seconds + self.decode_seconds,
        )
        self.pictures = self.embedded = 0
        self.decode_seconds = self.encode_seconds = 0.0
        return told


@dataclass(slots=True, eq=False)
class DecodeGate:
    """Stands before the decoder, for all threads of an ingest.

    Of each video some groups of pictures, drawn at random over what their packets say of change,
    are decoded and embedded densely. From them follows how much may change unseen, so that the
    rows which take an earlier picture's vector add at most `limit` to the mean drift of all rows,
    but for a chance of `risk`. The rows of the audit keep their exact vectors.
    """

    embed: Embed
    limit: float
    risk: float
    _found: dict[int, GatedVideo] = field(init=False, default_factory=dict)
    _locks: dict[int, threading.Lock] = field(init=False, default_factory=dict)
    _asking: Counter[int] = field(init=False, default_factory=Counter)  # threads, of each video
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def prepare(
        self, preparation: Preparation, task: Task, tick: Callable[[], None]
    ) -> Iterator[PreparedStretch]:
        """Decode a task as far as the gate asks for; in full where it is off or does not fit."""
        video = self._video(preparation, task.source, tick)
        if video.plan is not None and len(task.stretches) == 1:
            with reading(task.source.path):
                item = _prepare_planned(preparation, video.plan, task, tick)
            if item is not None:
                task.source.check_unchanged()
                yield video.bill(item)
                return
            logger.info("%s: a stretch is decoded in full", task.source.name)
        for item in prepare_task(preparation, task, tick):
            yield video.bill(item)

    def _video(
        self, preparation: Preparation, source: Source, tick: Callable[[], None]
    ) -> GatedVideo:
        """Return what was found of a video; the first thread to ask finds it, others wait."""
        with self._lock:
            lock = self._locks.setdefault(source.video_id, threading.Lock())
            self._asking[source.video_id] += 1
        try:
            while not lock.acquire(timeout=WAIT_SECONDS):
                tick()
        except BaseException:
            self._leave(source)
            raise
        try:
            found = self._found.get(source.video_id)
            if found is None:
                found = self._look(preparation, source, tick)
                logger.info("%s: decode gate: %s", source.name, found.said)
                with self._lock:
                    self._found[source.video_id] = found
                    for old in list(self._found)[:-REMEMBERED]:
                        del self._found[old], self._locks[old]
            return found
        finally:
            lock.release()
            self._leave(source)

    def _leave(self, source: Source) -> None:
        with self._lock:
            self._asking[source.video_id] -= 1
            self._asking += Counter()  # keeps those above zero

    def _look(
        self, preparation: Preparation, source: Source, tick: Callable[[], None]
    ) -> GatedVideo:
        found = GatedVideo("off")
        with reading(source.path):
            try:
                self._plan(found, preparation, source, tick)
            except (_OffError, UnsupportedCodecError) as error:
                found.said = f"off: {error}"
        return found

    def _plan(
        self,
        found: GatedVideo,
        preparation: Preparation,
        source: Source,
        tick: Callable[[], None],
    ) -> None:
        """Audit a video and lay down what is decoded of it; _OffError where that does not pay."""
        if len(source.gops) < FEWEST:
            raise _OffError(f"{len(source.gops)} groups of pictures, fewer than {FEWEST}")
        coded = read_coded(source.path)
        whole = source.whole
        picked = pick(coded.seconds.tolist(), source.times(whole.start_seconds, whole.stop_seconds))
        shown = [place for _, place in picked]
        groups = groups_of(coded, shown)
        drawn = draw_groups(groups, seed=int(coded.size_bytes.sum()) % 2**32)
        full = pictures_for(groups, -1, {})
        least = len(groups) + sum(groups[at].pictures(-1) - 1 for at in drawn)
        if len(groups) < FEWEST or least > (1 - WORTH) * full:
            raise _OffError("hardly any picture could be left out")
        asking = partial(self._asking.__getitem__, source.video_id)
        audit = _Audit(self.embed, preparation, source, coded, groups, tick, asking)
        calm = sorted(drawn, key=lambda at: groups[at].change[0])
        judged = Judged(-1.0, 0.0)
        for some in (calm[:LEAST], calm[LEAST:]):
            audit.look(some, found)
            judged = judge(groups, audit.drifts, len(shown), self.limit, self.risk)
            if judged.most < 0:
                raise _OffError("calm groups of pictures drift too much")
        left = found.pictures + pictures_for(groups, judged.most, audit.drifts)
        if left > (1 - WORTH) * full:
            raise _OffError(f"{left} of {full} pictures would be decoded still")
        anchors, carried = list(shown), 0
        for at, group in enumerate(groups):
            if at in audit.drifts:
                continue
            anchor = group.anchor(judged.most)
            place = group.key if anchor == KEY else group.shown[anchor]
            for row in group.carried(judged.most):
                anchors[group.first_row + row], carried = place, carried + 1
        numbers = tuple(number for number, _ in picked)
        found.plan = DecodePlan(
            numbers,
            tuple(shown),
            tuple(anchors),
            audit.known,
            coded,
            judged.mean,
            judged.upper,
        )
        found.said = (
            f"{carried} of {len(shown)} frames carried, {left} of {full} pictures decoded; by"
            f" {len(drawn)} audited groups a carried frame drifts {judged.mean:.2g} on average"
        )


@dataclass(slots=True)
class _Audit:
    """Groups of pictures of a video that are decoded and embedded densely."""

    embed: Embed
    preparation: Preparation
    source: Source
    coded: CodedPictures
    groups: Sequence[CodedGroup]
    tick: Callable[[], None]
    asking: Callable[[], int]  # threads that wait for it, this one too
    drifts: dict[int, Drifts] = field(default_factory=dict)
    known: dict[int, Known] = field(default_factory=dict)

    def look(self, chosen: Sequence[int], found: GatedVideo) -> None:
        """Audit some more; what that takes is noted in `found`."""
        started = perf_counter()
        places = [[self.groups[at].key, *self.groups[at].shown] for at in chosen]
        frames = self._decode(places)
        found.decode_seconds += perf_counter() - started
        found.pictures += sum(self.groups[at].pictures(-1) for at in chosen)
        started = perf_counter()
        vectors = self.embed(torch.stack([ready.pixels for ready in frames.values()]))
        found.encode_seconds += perf_counter() - started
        found.embedded += len(frames)
        at_place = dict(zip(frames, vectors, strict=True))
        for at, own in zip(chosen, places, strict=True):
            own_vectors = np.stack([at_place[place] for place in own])
            cosines = own_vectors.astype(np.float64) @ own_vectors[1:].T
            self.drifts[at] = np.maximum(1 - cosines, 0.0)
            for row, place in enumerate(own[1:], self.groups[at].first_row):
                self.known[row] = Known(at_place[place], frames[place].picture)

    def _decode(self, groups: Sequence[Sequence[int]]) -> dict[int, Ready]:
        """Decode the pictures of groups, side by side for as many threads as wait for the video."""
        count = min(self.asking(), len(groups))
        parts = [
            sorted({place for own in groups[at::count] for place in own}) for at in range(count)
        ]
        if count == 1:
            return self._decode_some(parts[0])
        with ThreadPoolExecutor(count, "audit") as pool:
            found = [each for part in pool.map(self._decode_some, parts) for each in part.items()]
        return dict(sorted(found, key=lambda each: each[0]))

    def _decode_some(self, places: Sequence[int]) -> dict[int, Ready]:
        """Decode pictures by their places, as the rows that they are."""
        seconds = [float(self.coded.seconds[place]) for place in places]
        found: dict[int, Ready] = {}
        preparation = replace(self.preparation, cue_side=None)
        for at, frame in get_frames_at(self.source.path, seconds, gops=self.source.gops):
            self.tick()
            if frame.corrupt or abs(frame.seconds - seconds[at]) > CLOCK_SECONDS:
                break
            found[places[at]] = ready_frame(replace(frame, number=places[at]), preparation)
        if len(found) < len(places):
            raise _OffError("its pictures are not those that its packets promise")
        return found


def _prepare_planned(
    preparation: Preparation, plan: DecodePlan, task: Task, tick: Callable[[], None]
) -> PreparedStretch | None:
    """Decode what the plan asks for of a stretch; None where that is not what comes."""
    [stretch] = task.stretches
    rows = plan.rows(task.source, stretch)
    places = sorted({plan.anchors[row] for row in rows if row not in plan.known})
    number_of = {plan.anchors[row]: plan.numbers[row] for row in reversed(rows)}
    started, decoded = perf_counter(), 0
    frames: list[Ready] = []
    if preparation.gpu is not None and places:
        numbered = [(number_of[place], place) for place in places]
        frames = _planned_on_gpu(preparation, preparation.gpu, plan, task, numbered, tick)
        decoded = len(frames)
    elif places:
        wanted = [float(plan.coded.seconds[place]) for place in places]
        damage: list[Damage] = []
        for frame in decode_range(
            task.source.path, task.entry_seconds, stretch.stop_seconds, gops=task.source.gops,
            cues=preparation.cue_side is not None, damage=damage, looked=partial(any_in, wanted),
        ):  # fmt: skip
            tick()
            decoded += 1
            at = len(frames)
            if frame.corrupt or damage:
                return None
            if at < len(wanted) and abs(frame.seconds - wanted[at]) <= CLOCK_SECONDS:
                own = replace(frame, number=number_of[places[at]])
                frames.append(ready_frame(own, preparation))
    if len(frames) != len(places):
        return None
    at_place = {place: at for at, place in enumerate(places)}
    told = tuple(_shown(plan, row, at_place, frames) for row in rows)
    return PreparedStretch(
        task,
        stretch,
        frames,
        [],
        decoded,
        perf_counter() - started,
        preparation.decoder,
        Carrying(told, plan.planned(task.source), plan.drift),
    )


def _planned_on_gpu(
    preparation: Preparation,
    gpu: int,
    plan: DecodePlan,
    task: Task,
    wanted: Sequence[tuple[int, int]],
    tick: Callable[[], None],
) -> list[Ready]:
    [stretch] = task.stretches
    times = task.source.times(stretch.start_seconds, stretch.stop_seconds)
    shown = plan.coded.seconds.tolist()
    frames = decode_on_gpu(task.source.path, times, gpu=gpu, shown=shown, wanted=wanted)
    try:
        return ready_on_gpu(preparation, frames, tick)
    except UnsupportedCodecError as error:
        if preparation.strict:
            raise
        logger.info("%s: %s", task.source.name, error)
        return []


def _shown(
    plan: DecodePlan, row: int, at_place: Mapping[int, int], frames: Sequence[Ready]
) -> Shown:
    number, place, anchor = plan.numbers[row], plan.shown[row], plan.anchors[row]
    seconds = float(plan.coded.seconds[place])
    if known := plan.known.get(row):
        return Shown(number, seconds, known.picture, None, vector=known.vector)
    at = at_place[anchor]
    if anchor == place:
        return Shown(number, seconds, frames[at].picture, at)
    return Shown(number, seconds, "?", at, carried=True)
