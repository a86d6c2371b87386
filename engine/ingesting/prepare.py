"""A stretch of video to pixels that a tower takes: decoded, sampled, resized once."""

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import groupby, islice
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import UnsupportedCodecError, UsageError
from engine.ingesting.plan import TOLERANCE_SECONDS, Stretch, Task
from engine.ingesting.report import Clock, IngestOptions, Missing
from engine.objects.address import Place
from engine.video.container import reading
from engine.video.decode import Damage, Frame, decode_range
from engine.video.hardware import BLOCK, DeviceFrame, decode_on_gpu, load_nvdec, shown_times
from engine.video.hints import codec_hints
from engine.video.sample import any_in, sample_frames
from engine.vision.backbone.preprocess import Preprocessing, prepare, prepare_batch
from engine.vision.model import Model

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Preparation:
    """How a stretch becomes pixels."""

    preprocessing: Preprocessing
    cue_side: int | None = None  # cells along the maps of codec cues, for strategies that want them
    gpu: int | None = None  # decode there, by its own decoder
    decoder: str = "pyav"  # which, and why
    strict: bool = False  # whether what the GPU cannot decode is an error
    clock: Clock = perf_counter


def preparation_of(options: IngestOptions, model: Model, cue_side: int | None) -> Preparation:
    """Return how an ingest samples; UsageError where the decoder asked for cannot be had.

    `auto` takes the GPU's decoder where there is one, and the other for files that it refuses.
    """
    asked, without = options.decoder, ""
    if asked == "pyav":
        without = "as asked for"
    elif asked == "auto" and model.device.type != "cuda":
        without = f"the model runs on {model.device}"
    elif model.preprocessing.pictures > 1:
        without = "clips of several pictures, which decoder 'nvdec' does not give"
    elif cue_side is not None:
        without = "this strategy needs codec cues, which decoder 'nvdec' does not give"
    else:
        try:
            load_nvdec()
        except UsageError as error:
            if asked == "nvdec":
                raise
            without = str(error)
    if without and asked == "nvdec":
        raise UsageError(without)
    gpu = None if without else model.device.index or 0
    said = f"pyav: {without}" if without else f"nvdec on cuda:{gpu}"
    logger.info("decoder %s", said)
    strict = asked == "nvdec"
    return Preparation(model.preprocessing, cue_side, gpu, said, strict, options.clock)


@dataclass(frozen=True, slots=True)
class Ready:
    """A sampled frame, ready to be encoded."""

    number: int
    seconds: float
    picture: str
    pixels: Tensor  # uint8 [3, S, S]
    cues: Tensor | None  # [C, side, side]


@dataclass(frozen=True, slots=True)
class Shown:
    """A sampled frame without its pixels: a row."""

    number: int
    seconds: float
    picture: str
    frame: int | None  # whose vector it takes, counted among those decoded for its stretch
    carried: bool = False  # that frame shows an earlier picture
    vector: NDArray[np.float32] | None = None  # known already, where it takes no frame's


@dataclass(frozen=True, slots=True)
class Carrying:
    """What a decode gate made of a stretch."""

    rows: tuple[Shown, ...]
    planned: int  # frames to encode of the video that share an audit
    drift: float  # expected of a row that is carried


@dataclass(frozen=True, slots=True)
class GateWord:
    """What a decode gate says of a video; with its first stretch also what the audit took."""

    said: str
    used: float | None = None  # of the bound, at most; None: it is off
    embedded: int = 0  # pictures, densely
    encode_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Decoded:
    """That a stretch was decoded: an event, small enough to be kept and sent about."""

    task: Task
    stretch: Stretch
    frames: tuple[Shown, ...]
    missing: list[Missing]
    pictures: int
    decode_seconds: float
    decoder: str  # that was used, and why
    drift: float = 0.0  # expected of a row that is carried
    gate: GateWord | None = None


@dataclass(frozen=True, slots=True)
class PreparedStretch:
    """The sampled frames of one stretch: work for the encoder."""

    task: Task
    stretch: Stretch
    frames: list[Ready]
    missing: list[Missing]
    decoded: int  # pictures
    decode_seconds: float
    decoder: str  # that was used, and why
    carrying: Carrying | None = None  # None: every row is a frame
    gate: GateWord | None = None

    @property
    def event(self) -> Decoded:
        """What is told of it, and what its rows say besides embeddings."""
        rows = (
            self.carrying.rows
            if self.carrying
            else [
                Shown(each.number, each.seconds, each.picture, at)
                for at, each in enumerate(self.frames)
            ]
        )
        return Decoded(
            task=self.task,
            stretch=self.stretch,
            frames=tuple(rows),
            missing=self.missing,
            pictures=self.decoded,
            decode_seconds=self.decode_seconds,
            decoder=self.decoder,
            drift=self.carrying.drift if self.carrying else 0.0,
            gate=self.gate,
        )

    @property
    def planned(self) -> int:
        """How many frames of its video share an audit; 0: each stretch has its own."""
        return self.carrying.planned if self.carrying else self.task.source.planned


@dataclass(slots=True)
class Watch:
    """Passes sound frames on and keeps account of the rest."""

    tick: Callable[[], None]
    decoded: int = 0
    damage: list[Damage] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    reason: str = ""
    shown: bool = False  # a picture that stays on screen until the next one
    _seen: int = 0
    _broken: float | None = None

    def sound(self, frames: Iterator[Frame], stop_seconds: float) -> Iterator[Frame]:
        """Yield the frames that are not damaged."""
        for frame in frames:
            self.tick()
            self.decoded += 1
            self._note()
            if frame.corrupt:
                self._broken = frame.seconds if self._broken is None else self._broken
                continue
            self._close(frame.seconds)
            self.shown = True
            yield frame
        self._note()
        self._close(stop_seconds)

    def _note(self) -> None:
        if len(self.damage) > self._seen:
            first = self.damage[self._seen]
            self._seen, self.reason = len(self.damage), first.reason
            self._broken = first.seconds if self._broken is None else self._broken

    def _close(self, seconds: float) -> None:
        if self._broken is not None and self._broken < seconds:
            reason = self.reason or "damaged pictures"
            self.missing.append(Missing(self._broken, seconds, reason))
        self._broken = None


def prepare_task(
    preparation: Preparation, task: Task, tick: Callable[[], None]
) -> Iterator[PreparedStretch]:
    """Decode a task in one pass and yield its stretches; `tick` is called for every picture."""
    if task.source.coarse and preparation.gpu is not None:
        said = "pyav: it decodes a group of pictures no further than its first sampled frame"
        preparation = replace(preparation, gpu=None, decoder=said)
    if preparation.gpu is None:
        with reading(task.source.path):
            yield from _prepare_by_pyav(preparation, task, tick)
        return
    left = list(task.stretches)
    try:
        for prepared in _prepare_on_gpu(preparation, preparation.gpu, task, tick):
            left.remove(prepared.stretch)
            yield prepared
    except UnsupportedCodecError as error:
        if preparation.strict:
            raise
        logger.info("%s: decoder pyav: %s", task.source.name, error)
        other = replace(preparation, gpu=None, decoder=f"pyav: {error}")
        yield from prepare_task(other, replace(task, stretches=tuple(left)), tick)


def _prepare_by_pyav(
    preparation: Preparation, task: Task, tick: Callable[[], None]
) -> Iterator[PreparedStretch]:
    source, stop = task.source, task.stretches[-1].stop_seconds
    times = source.times(task.stretches[0].start_seconds, stop)
    first = [n for part in task.stretches for n in source.first_instants(part)]
    looked = partial(any_in, [times.seconds(n) for n in first]) if source.coarse else times.any_in
    watch = Watch(tick)
    pictures = decode_range(
        source.path,
        task.entry_seconds,
        stop,
        gops=source.gops,
        cues=preparation.cue_side is not None,
        damage=watch.damage,
        looked=looked,
    )
    sampled = sample_frames(watch.sound(pictures, stop), times)
    if source.coarse:
        wanted = set(first)
        sampled = (frame for frame in sampled if frame.number in wanted)

    stops = [stretch.stop_seconds - TOLERANCE_SECONDS for stretch in task.stretches]

    def place(frame: Frame) -> int:
        assert frame.number is not None
        return bisect_right(stops, times.seconds(frame.number))

    groups = groupby(sampled, key=place)
    at, group = -1, iter(list[Frame]())
    for index, stretch in enumerate(task.stretches):
        started, before = preparation.clock(), watch.decoded
        if at < index:
            at, group = next(groups, (len(task.stretches), iter(list[Frame]())))
        ready = [ready_frame(frame, preparation) for frame in (group if at == index else ())]
        seconds = preparation.clock() - started
        missing, watch.missing = watch.missing, []
        nothing = not (ready or missing or watch.shown)
        if nothing and len(source.times(stretch.start_seconds, stretch.stop_seconds)):
            reason = watch.reason or "no picture could be decoded"
            missing = [Missing(stretch.start_seconds, stretch.stop_seconds, reason)]
        decoded = watch.decoded - before
        yield PreparedStretch(task, stretch, ready, missing, decoded, seconds, preparation.decoder)
    source.check_unchanged()


def _prepare_on_gpu(
    preparation: Preparation, gpu: int, task: Task, tick: Callable[[], None]
) -> Iterator[PreparedStretch]:
    """Decode, resize and keep the pictures on the GPU; their types are not known there."""
    shown = _shown(task.source.path, task.source.stamp)
    for stretch in task.stretches:
        started = preparation.clock()
        times = task.source.times(stretch.start_seconds, stretch.stop_seconds)
        frames = decode_on_gpu(task.source.path, times, gpu=gpu, shown=shown)
        ready = ready_on_gpu(preparation, frames, tick)
        seconds = preparation.clock() - started
        yield PreparedStretch(task, stretch, ready, [], len(ready), seconds, preparation.decoder)
    task.source.check_unchanged()


def ready_on_gpu(
    preparation: Preparation, frames: Iterator[DeviceFrame], tick: Callable[[], None]
) -> list[Ready]:
    """Resize what the GPU decoded, some at a time."""
    ready: list[Ready] = []
    while block := list(islice(frames, BLOCK)):
        tick()
        pixels = prepare_batch(torch.stack([f.image for f in block]), preparation.preprocessing)
        ready += [
            Ready(frame.number, frame.seconds, "?", each, None)
            for frame, each in zip(block, pixels, strict=True)
        ]
    return ready


@lru_cache(8)
def _shown(path: Place, _stamp: tuple[int, int, int]) -> list[float]:
    """Return the times of a file's pictures, read once for all of its tasks."""
    return shown_times(path)


def ready_frame(frame: Frame, preparation: Preparation) -> Ready:
    """Resize and crop a sampled frame."""
    assert frame.number is not None
    preprocessing, side, cues = preparation.preprocessing, preparation.cue_side, None
    if side is not None:
        cues = torch.from_numpy(codec_hints(frame, side, fit=preprocessing.mode))
    pixels = prepare(frame.image, preprocessing)
    return Ready(frame.number, frame.seconds, frame.picture, pixels, cues)
