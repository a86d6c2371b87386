"""Tasks to rows: decoding ahead and encoding, here or in a process for each device."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from engine.errors import ModelError
from engine.ingesting.clips import prepare_clips
from engine.ingesting.encode import Done, StretchEncoder
from engine.ingesting.plan import Task
from engine.ingesting.pool import DecodePool, Failed
from engine.ingesting.prepare import (
    Decoded,
    Preparation,
    PreparedStretch,
    preparation_of,
    prepare_task,
)
from engine.ingesting.report import IngestOptions
from engine.vision.backbone.space import Precision
from engine.vision.bounded.auto import StrategyChoice
from engine.vision.model import Model, load_model
from engine.vision.streaming.spread import spread

Event = Decoded | Failed | Done
NICENESS = 10  # of a process that works apart


def run_on_devices(
    encoder: StretchEncoder,
    tasks: Iterator[Task],
    stopped: Callable[[], bool],
    ended: Callable[[], bool] | None = None,
) -> Generator[list[Event], None, None]:
    """Yield what becomes of the tasks, until all are done or an end is asked for.

    `stopped` lets what is begun come to its end; `ended` gives it up, on the engine's own device.
    """
    options, own = encoder.options, str(encoder.model.device)
    workers = options.workers or os.cpu_count() or 1
    if options.devices in ((), (own,)) and options.apart and own == "cpu" and ended is None:
        yield from _run_apart(encoder, tasks, workers, stopped)
        return
    if options.devices in ((), (own,)):
        yield from run_here(encoder, tasks, workers, stopped, ended)
        return
    # the choice is made here, by the first tasks, so that all devices go by the same one
    yield from run_here(encoder, until_chosen(encoder, tasks), workers, stopped)
    if stopped():
        return
    job = DeviceJob.of(encoder, max(1, workers // len(options.devices)))
    found = spread(job, tasks, list(options.devices), held=2 * encoder.streams, stopped=stopped)
    for _, events in found:
        yield _passed(encoder, events)


def _run_apart(
    encoder: StretchEncoder, tasks: Iterator[Task], workers: int, stopped: Callable[[], bool]
) -> Generator[list[Event], None, None]:
    """Let a process of its own do it, which chooses a strategy by itself where that is asked."""
    job = replace(DeviceJob.of(encoder, workers), choices=None, niceness=NICENESS)
    device, held = str(encoder.model.device), 2 * encoder.streams
    for _, events in spread(job, tasks, [device], held=held, ended=stopped):
        yield _passed(encoder, events)


def _passed(encoder: StretchEncoder, found: Sequence["Event | ChosenApart"]) -> list[Event]:
    """Take in what another process has chosen; return the rest of what it says."""
    events: list[Event] = []
    for item in found:
        if not isinstance(item, ChosenApart):
            events.append(item)
        elif encoder.auto:
            encoder.auto.choices |= item.choices
    return events


@dataclass(frozen=True, slots=True)
class ChosenApart:
    """What `auto` has chosen in another process."""

    choices: Mapping[str, StrategyChoice]


@dataclass(frozen=True, slots=True)
class DeviceJob:
    """What the process of one device does; pickled."""

    name: str
    revision: str | None
    dtype: torch.dtype | None  # None: by the device
    precision: Precision
    space: str
    options: IngestOptions
    choices: Mapping[str, StrategyChoice] | None  # None: it chooses by itself
    few: bool
    workers: int
    niceness: int = 0

    @classmethod
    def of(cls, encoder: StretchEncoder, workers: int) -> "DeviceJob":
        """Return the job that does what this encoder does."""
        model, options = encoder.model, encoder.options
        revision = None if model.space.revision == "local" else model.space.revision
        return cls(
            model.space.model,
            revision,
            model.tower.dtype,
            model.space.precision,
            model.space.key,
            replace(options, devices=()),
            encoder.auto.choices if encoder.auto else {},
            encoder.few,
            workers,
        )

    def load(self, device: str) -> Model:
        """Load the model in another process; ModelError where it is not the same there."""
        model = load_model(
            self.name, device=device, dtype=self.dtype, revision=self.revision,
            precision=self.precision,
        )  # fmt: skip
        if model.space.key != self.space:
            raise ModelError(f"{self.name} has changed: {model.space.key}, not {self.space}")
        return model

    def __call__(
        self, device: torch.device, tasks: Iterator[Task]
    ) -> Iterator[Sequence[Event | ChosenApart]]:
        """Load the model and work until there are no tasks left."""
        os.nice(self.niceness)
        model = self.load(str(device))
        encoder = StretchEncoder(model, self.options, self.choices, self.few)
        yield from run_here(encoder, tasks, self.workers, lambda: False)
        if encoder.auto and self.choices is None:
            yield [ChosenApart(encoder.auto.choices)]


def run_here(
    encoder: StretchEncoder,
    tasks: Iterator[Task],
    workers: int,
    stopped: Callable[[], bool],
    ended: Callable[[], bool] | None = None,
) -> Generator[list[Event], None, None]:
    """Decode and encode in this process."""
    options = encoder.options
    preparation = preparation_of(options, encoder.model, encoder.cue_side)
    pool = DecodePool(
        tasks=tasks,
        prepare=partial(_preparing(encoder), preparation),
        workers=workers,
        ahead=encoder.streams + 1,
        stall_seconds=options.stall_seconds,
        ended=ended or (lambda: False),
    )
    decoded: deque[Decoded | Failed] = deque()  # by the thread that puts turns together

    def prepared() -> Iterator[PreparedStretch]:
        for item in pool:
            decoded.append(item.event if isinstance(item, PreparedStretch) else item)
            if isinstance(item, PreparedStretch):
                yield item

    with pool:
        turns = encoder.run(prepared(), ended)
        try:
            for done in turns:
                yield [*_drain(decoded), *done]
                if stopped():
                    return
        finally:
            pool.stop()  # before the turns, whose thread may be waiting for it
            turns.close()
    yield list(_drain(decoded))


def _preparing(
    encoder: StretchEncoder,
) -> Callable[[Preparation, Task, Callable[[], None]], Iterator[PreparedStretch]]:
    """How tasks become rows: pictures, those that a decode gate passes, or clips."""
    if encoder.model.preprocessing.pictures > 1:
        return prepare_clips
    return encoder.gate.prepare if encoder.gate else prepare_task


def until_chosen(encoder: StretchEncoder, tasks: Iterator[Task]) -> Iterator[Task]:
    """Pass on tasks until `auto` has chosen; with streams too short to choose by, only some."""
    for _ in range(4 * encoder.streams):
        if not encoder.auto or encoder.auto.choices or (task := next(tasks, None)) is None:
            return
        yield task


def _drain(decoded: deque[Decoded | Failed]) -> Iterator[Event]:
    while decoded:
        yield decoded.popleft()
