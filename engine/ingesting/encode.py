"""Prepared stretches to rows: several streams side by side through one strategy."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from engine.ingesting.plan import Source, Stretch
from engine.ingesting.prepare import Prepared
from engine.ingesting.report import IngestOptions
from engine.storage.store import Rows
from engine.vision.bound import Bounded, Scalable
from engine.vision.macs import dense_macs
from engine.vision.model import Model
from engine.vision.strategies import build_strategy
from engine.vision.strategies.base import Chunk, Encoded, Strategy, reuse_rate
from engine.vision.strategies.reusevit import ReuseViT
from engine.vision.streams import Batcher
from engine.vision.streams import Source as Stream

REUSING = "earlygate"  # what `auto` weighs against dense
TRIAL_FRAMES, WARM_FRAMES = 24, 4  # that the choice is made by
LANE_FRAMES = 64  # of a lane in one turn: about a stretch


@dataclass(frozen=True, slots=True)
class Done:
    """One stretch as rows, and what they took; its pixels are let go."""

    source: Source
    stretch: Stretch
    strategy: str
    rows: Rows
    full: int
    tokens: int  # of the layers after the first
    tokens_reused: int
    macs: float
    macs_dense: float
    seconds: float


@dataclass(slots=True)
class Encoder:
    """A model with the strategy that was asked for, or with the faster one once that is known."""

    model: Model
    options: IngestOptions
    strategy: Strategy | None = field(init=False, default=None)
    choice: str = field(init=False, default="nothing had to be encoded")
    saved_seconds: float | None = field(init=False, default=None)  # per frame against dense

    def __post_init__(self) -> None:
        if self.options.strategy != "auto":
            self.strategy = self._build(self.options.strategy)
            self.choice = f"{self.options.strategy}, as asked for"

    @property
    def cue_side(self) -> int | None:
        """Cells along the maps of codec cues, if the strategy was trained with them."""
        inner = self.strategy.strategy if isinstance(self.strategy, Bounded) else self.strategy
        wanted = isinstance(inner, ReuseViT) and inner.parts.config.cue == "codec"
        return self.model.tower.config.side if wanted else None

    @property
    def streams(self) -> int:
        """How many stretches to encode side by side."""
        by_device = 64 if self.model.device.type == "cuda" else 4
        return self.options.streams or by_device

    def run(self, items: Iterable[Prepared]) -> Generator[list[Done], None, None]:
        """Encode stretches, each a stream of its own; turn by turn those that are done.

        Lanes are kept full while stretches end and begin; the next turn is put together, and on a
        GPU copied, while one is encoded.
        """
        items = iter(items)
        if self.strategy is None:
            if trial := self._draw(items):
                yield self._choose(trial)
            if self.strategy is None:
                return
        batcher = Batcher(self.strategy, lanes=self.streams, frames=LANE_FRAMES, lookahead=1)
        waiting: dict[int, Prepared] = {}

        def sources() -> Iterator[Stream[int]]:
            for number, prepared in enumerate(items):
                waiting[number] = prepared.told()
                yield Stream(number, [_chunk(prepared, self.model)], len(prepared.frames))

        spent = 0.0
        for ended in batcher.whole(sources()):
            pairs = [(waiting.pop(number), encoded) for number, encoded in ended]
            yield self._finish(pairs, self.strategy.name, batcher.seconds - spent)
            spent = batcher.seconds

    def _build(self, name: str) -> Strategy:
        strategy = build_strategy(name, self.model.tower, space=self.model.space)
        if name == "dense" or self.options.max_drift is None:
            return strategy
        bound = self.options.max_drift
        return Bounded(cast(Scalable, strategy), self._build("dense"), max_drift=bound)

    def _draw(self, items: Iterator[Prepared]) -> list[Prepared]:
        """Take what the choice is made by: enough frames, and on a GPU as many as run at once."""
        least = self.streams if self.model.device.type == "cuda" else 1
        drawn: list[Prepared] = []
        while len(drawn) < least or sum(len(each.frames) for each in drawn) < TRIAL_FRAMES:
            if (item := next(items, None)) is None:
                break
            drawn.append(item)
        return drawn

    def _choose(self, batch: Sequence[Prepared]) -> list[Done]:
        """Encode the first stretches both ways, timed as they are served, and keep the faster.

        The first call of either is not counted: it also pays for what is set up once. Few frames
        decide nothing.
        """
        chunks = [replace(_chunk(prepared, self.model), last=True) for prepared in batch]
        dense = self._build("dense")
        frames = sum(len(chunk.pixels) for chunk in chunks)
        if frames < TRIAL_FRAMES:
            self.choice = f"dense: fewer than {TRIAL_FRAMES} frames to choose by"
            full, seconds = _timed(dense, chunks)
            return self._finish(zip(batch, full, strict=True), dense.name, seconds)
        reusing = self._build(REUSING)
        reused, reuse_seconds = _timed(reusing, chunks)
        full, dense_seconds = _timed(dense, chunks)
        faster = reuse_seconds < dense_seconds
        self.strategy = reusing if faster else dense
        self.saved_seconds = max(dense_seconds - reuse_seconds, 0.0) / frames
        self.choice = (
            f"{self.strategy.name}: on the first {frames} frames {reusing.name} took"
            f" {1e3 * reuse_seconds / frames:.3g} ms a frame here, its audit included, dense"
            f" {1e3 * dense_seconds / frames:.3g} ms"
        )
        pairs = zip(batch, reused if faster else full, strict=True)
        return self._finish(pairs, self.strategy.name, reuse_seconds + dense_seconds)

    def _finish(
        self, pairs: Iterable[tuple[Prepared, Encoded]], name: str, seconds: float
    ) -> list[Done]:
        """Bring results to the host, and share the seconds out by frames."""
        started = perf_counter()
        found = [(each, _rows(each, encoded, self.model), encoded) for each, encoded in pairs]
        seconds += perf_counter() - started
        frames = max(sum(len(each.frames) for each, _, _ in found), 1)
        return [
            self._done(each, name, rows, encoded, seconds * len(each.frames) / frames)
            for each, rows, encoded in found
        ]

    def _done(
        self, prepared: Prepared, name: str, rows: Rows, encoded: Encoded, seconds: float
    ) -> Done:
        config = self.model.tower.config
        frames = len(prepared.frames)
        tokens = frames * config.tokens * (config.layers - 1)
        return Done(
            source=prepared.task.source,
            stretch=prepared.stretch,
            strategy=name,
            rows=rows,
            full=int(rows.exact.sum()),
            tokens=tokens,
            tokens_reused=tokens - int(encoded.computed[:, 1:].sum()),
            macs=float(encoded.macs.sum()),
            macs_dense=float(frames * dense_macs(config)),
            seconds=seconds,
        )


def _timed(strategy: Strategy, chunks: Sequence[Chunk]) -> tuple[list[Encoded], float]:
    """Encode with a strategy that is warm already; return the seconds that it took."""
    strategy.encode([Chunk(chunk.pixels[:WARM_FRAMES], last=True) for chunk in chunks])
    started = perf_counter()
    encoded = strategy.encode(chunks)
    float(encoded[-1].embeddings.sum())  # waits for the device
    return encoded, perf_counter() - started


def _chunk(prepared: Prepared, model: Model) -> Chunk:
    size = model.tower.config.image_size
    if not prepared.frames:
        return Chunk(torch.empty(0, 3, size, size, dtype=torch.uint8))
    cues = [frame.cues for frame in prepared.frames if frame.cues is not None]
    return Chunk(
        pixels=torch.stack([frame.pixels for frame in prepared.frames]),
        cues=torch.stack(cues) if cues else None,
    )


def _rows(prepared: Prepared, encoded: Encoded, model: Model) -> Rows:
    frames = prepared.frames
    unknown = torch.full((len(frames),), torch.nan)
    drift = unknown if encoded.drift is None else encoded.drift
    return Rows(
        frame=np.array([frame.number for frame in frames], np.int32),
        seconds=np.array([frame.seconds for frame in frames], np.float64),
        picture=[frame.picture for frame in frames],
        embeddings=_host(F.normalize(encoded.embeddings.float(), dim=-1)),
        reuse_rate=_host(reuse_rate(encoded, model.tower).float()),
        drift=_host(torch.where(encoded.full, 0.0, drift.to(encoded.full.device))),
        exact=_host(encoded.full).astype(bool),
    )


def _host(values: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = values.cpu().numpy()
    return array
