"""Steps of many streams side by side: what encodes one, and the walk through all of a call."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from torch import Tensor

from engine.vision.streaming.call import Call
from engine.vision.streaming.places import Flags, Frames, Numbers, Round, rounds
from engine.vision.streaming.streams import Stream

M = TypeVar("M")
Walk = Callable[[Round], Iterable[Frames]]


@dataclass(frozen=True, slots=True)
class Batch:
    """The frames of one step, by slot and then by place, both ascending: `[T]` each."""

    slots: Numbers
    places: Numbers  # of the frames' streams
    full: Flags  # frames of which every token is computed
    pixels: Tensor  # uint8 [T, 3, S, S]
    cues: Tensor | None = None  # [T, patches], for methods that decide by them


@dataclass(frozen=True, slots=True)
class Stepped:
    """What a step gave, frame by frame as they lay in the batch."""

    embeddings: Tensor  # [T, E]
    computed: Tensor  # int64 [T, L], tokens computed in each layer


class Stepper(Protocol[M]):
    """Encodes steps of streams side by side; what a stream leaves behind, an M, is kept for it.

    A method has a plain one, PyTorch on any device and its definition, and a fused one for GPUs.
    """

    @property
    def room(self) -> int | None:
        """The most streams side by side; None: any number."""

    def begin(self, places: int) -> None:
        """Make room for that many streams."""

    def load(self, saved: Mapping[int, M]) -> None:
        """Put what streams left in their places; a stream without any starts with a full frame."""

    def step(self, batch: Batch) -> Stepped:
        """Encode frames, and keep what the streams' next ones may refer to."""

    def saved(self, places: Sequence[int]) -> list[M]:
        """Return copies of what the streams at these places left, each by itself."""


def run_rounds(
    stepper: Stepper[M],
    streams: Sequence[Stream[Any, M]],
    call: Call,
    walk: Walk | None = None,
) -> None:
    """Run the steps of all streams, as many side by side as there is room for.

    Args:
        stepper: what encodes.
        streams: with what they left as they came; then as they leave it.
        call: their frames, and where results go.
        walk: yields a round's frames in the parts in which they are encoded; None: all at once.
    """
    busy = sum(bool(stream.steps) for stream in streams)
    places = busy if stepper.room is None else min(stepper.room, busy)
    stepper.begin(places)
    for part in rounds([stream.steps for stream in streams], places):
        begun = [(at, streams[n].memory) for n, at in part.begun()]
        stepper.load({at: memory for at, memory in begun if memory is not None})
        for frames in walk(part) if walk else _whole(part):
            _step(stepper, part, frames, call)
        left = [(streams[n], at) for n, at in part.ended() if not streams[n].last]
        kept = stepper.saved([at for _, at in left])
        for (stream, _), memory in zip(left, kept, strict=True):
            stream.memory = memory


def _whole(part: Round) -> Iterator[Frames]:
    yield part.frames()


def _step(stepper: Stepper[M], part: Round, frames: Frames, call: Call) -> None:
    """Encode frames of a round, and keep what they became."""
    rows = call.rows(part, frames)
    batch = Batch(
        slots=frames.slots,
        places=part.places[frames.groups],
        full=part.full[frames.groups],
        pixels=call.pixels.index_select(0, rows),
        cues=None if call.cues is None else call.cues.index_select(0, rows),
    )
    stepped = stepper.step(batch)
    call.put(rows, stepped.embeddings, stepped.computed)
