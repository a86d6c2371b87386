"""The interface of every way to encode a sequence of frames."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from engine.errors import UsageError
from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionTower


@dataclass(slots=True)
class StreamState:
    """What a strategy keeps of one stream between calls; a strategy adds what is its own.

    It can be saved: there are tensors, numbers and records of them in it, and nothing else.
    """

    num_frames: int  # received so far, pending ones included
    pending: Tensor  # uint8 [P, 3, S, S], received and not yet encoded: their group is incomplete


@dataclass(frozen=True, slots=True)
class PartOf:
    """A video of which several streams are parts, and how many frames they have together."""

    key: Hashable
    num_frames: int
    share: float = 1.0  # of the bound; something else has used the rest
    risk: float = 1.0  # share of the risk that the bound is broken


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next consecutive frames of one stream.

    A stream is a run of sampled frames of one video that starts with a full frame.
    """

    pixels: Tensor  # uint8 [F, 3, S, S], resized and cropped; F may be 0
    state: StreamState | None = None  # None starts a stream
    last: bool = False  # True ends it: pending frames are encoded and no state comes back
    cues: Tensor | None = None  # [F, C, side, side], for strategies that ask for codec cues
    looked: Tensor | None = None  # [F, …] on the host, what a `Looking` strategy made of the pixels
    part_of: PartOf | None = None  # the video that it is a stretch of, where stretches are audited


@dataclass(frozen=True, slots=True)
class Encoded:
    """Embeddings of the frames that are done, in frame order, and what was done for them.

    F counts the frames completed in this call, pending ones of earlier calls first. Tensors stay on
    the tower's device: reading them is the caller's synchronisation.
    """

    embeddings: Tensor  # [F, E], projected, not normalised
    computed: Tensor  # int32 [F, L], tokens whose layer was computed, the class token included
    macs: Tensor  # float64 [F], multiply-accumulates really done
    full: Tensor  # bool [F], frames for which nothing was reused
    state: StreamState | None  # None after the last chunk
    drift: Tensor | None = None  # float32 [F], estimated 1 - cosine to dense; None: not estimated
    strategy: str | None = None  # that encoded them, where it was chosen among several


class Strategy(Protocol):
    """One way to encode streams; `dense` is the definition that all others are judged against."""

    @property
    def name(self) -> str:
        """The name by which it is asked for and stored with every row."""

    @property
    def tower(self) -> VisionTower:
        """The frozen backbone."""

    @property
    def whole_streams(self) -> bool:
        """Whether a chunk must be a whole stream: what is done depends on all of its frames."""

    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        """Encode chunks of different streams together; one result per chunk, in order.

        Results do not depend on how a stream is cut into chunks, nor on the other chunks of a call.
        """


@runtime_checkable
class Scalable(Strategy, Protocol):
    """A strategy that can be made tighter or looser, for a bound on drift to steer.

    Optional: one without it runs at its one setting under a bound, and frames of it that drift too
    far are embedded densely.
    """

    def with_scale(self, scale: float) -> "Scalable":
        """Return the strategy with less (below 1) or more drift allowed."""


@runtime_checkable
class Steady(Protocol):
    """A strategy of which some frames drift far, and that can do without those.

    Optional: under a bound few frames are looked at, and what is rare and large is dear.
    """

    def steadied(self) -> Strategy:
        """Return the strategy as it is under a bound."""


@runtime_checkable
class Looking(Protocol):
    """A strategy whose steps depend on what the host sees of the pixels.

    Its caller may have that done ahead, while the device works on earlier frames.
    """

    def look(self, pixels: Tensor) -> Tensor:
        """Return on the pixels' device what the host will read, frame by frame: `[F, …]`."""


def reuse_rate(encoded: Encoded, tower: VisionTower) -> Tensor:
    """Share of tokens not computed, per frame, over the layers after the first: `[F]`."""
    tokens = tower.config.tokens
    return 1 - encoded.computed[:, 1:].double().mean(1) / tokens


def check_whole(strategy: Strategy, chunks: Sequence[Chunk]) -> None:
    """Refuse parts of streams, for a strategy that wants whole ones."""
    if any(chunk.state is not None or not chunk.last for chunk in chunks):
        raise UsageError(f"{strategy.name} takes whole streams, got a part of one")


Build = Callable[[VisionTower, Space | None, Path | None, Mapping[str, Any]], Strategy]


@dataclass(frozen=True, slots=True)
class Buildable:
    """A strategy that can be asked for by name.

    `build` gets the backbone, the model's space (to find what ships with it, and to refuse what was
    trained for another), a file of trained modules or calibrated limits, and options.
    """

    build: Build
    formats: tuple[str, ...] = ()  # of its trained files, as their metadata say


def named_like(wanted: str, names: Iterable[str]) -> str | None:
    """The name that was asked for, or one that is the same number written otherwise."""
    known = tuple(names)
    if wanted in known:
        return wanted
    try:
        return next((name for name in known if float(name) == float(wanted)), None)
    except ValueError:
        return None


def check_untrained(name: str, parts: Path | None) -> None:
    """Refuse a trained file, for a strategy that reads none."""
    if parts is not None:
        raise UsageError(f"strategy {name} reads no trained file, got {parts}")
