"""Prepared stretches to rows: several streams side by side through one strategy."""

from collections.abc import Sequence
from dataclasses import dataclass, field
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

REUSING = "earlygate"  # what `auto` weighs against dense
TRIAL_FRAMES, LONGEST_TRIAL, WARM_FRAMES = 24, 48, 4  # that the choice is made by


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
        by_device = 32 if self.model.device.type == "cuda" else 4
        return self.options.streams or by_device

    def encode(self, batch: Sequence[Prepared]) -> list[Done]:
        """Encode stretches side by side, each a stream of its own."""
        started = perf_counter()
        chunks = [_chunk(prepared, self.model) for prepared in batch]
        strategy = self.strategy or self._choose(max((c.pixels for c in chunks), key=len))
        encoded = strategy.encode(chunks)
        rows = [_rows(p, e, self.model) for p, e in zip(batch, encoded, strict=True)]
        seconds = perf_counter() - started
        frames = max(sum(len(prepared.frames) for prepared in batch), 1)
        return [
            self._done(prepared, strategy.name, row, e, seconds * len(prepared.frames) / frames)
            for prepared, row, e in zip(batch, rows, encoded, strict=True)
        ]

    def _build(self, name: str) -> Strategy:
        strategy = build_strategy(name, self.model.tower, space=self.model.space)
        if name == "dense" or self.options.max_drift is None:
            return strategy
        bound = self.options.max_drift
        return Bounded(cast(Scalable, strategy), self._build("dense"), max_drift=bound)

    def _choose(self, pixels: Tensor) -> Strategy:
        """Time both ways on frames of one stream and keep the faster; few frames decide nothing.

        The first call of either is not counted: it also pays for what is set up once.
        """
        dense = self._build("dense")
        if len(pixels) < TRIAL_FRAMES:
            self.choice = f"dense: fewer than {TRIAL_FRAMES} frames to choose by"
            return dense
        reusing = self._build(REUSING)
        trial = pixels[:LONGEST_TRIAL]
        reuse_seconds, dense_seconds = (self._seconds(s, trial) for s in (reusing, dense))
        self.strategy = reusing if reuse_seconds < dense_seconds else dense
        self.saved_seconds = dense_seconds - min(reuse_seconds, dense_seconds)
        self.choice = (
            f"{self.strategy.name}: {reusing.name} takes {1e3 * reuse_seconds:.3g} ms a frame"
            f" here, dense {1e3 * dense_seconds:.3g} ms"
        )
        return self.strategy

    def _seconds(self, strategy: Strategy, pixels: Tensor) -> float:
        """Seconds per frame of a stream, the strategy already warm."""
        strategy.encode([Chunk(pixels[:WARM_FRAMES], last=True)])
        started = perf_counter()
        [encoded] = strategy.encode([Chunk(pixels, last=True)])
        float(encoded.embeddings.sum())  # waits for the device
        return (perf_counter() - started) / len(pixels)

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


def _chunk(prepared: Prepared, model: Model) -> Chunk:
    size = model.tower.config.image_size
    if not prepared.frames:
        return Chunk(torch.empty(0, 3, size, size, dtype=torch.uint8), last=True)
    cues = [frame.cues for frame in prepared.frames if frame.cues is not None]
    return Chunk(
        pixels=torch.stack([frame.pixels for frame in prepared.frames]),
        last=True,
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
