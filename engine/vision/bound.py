"""A bound on drift that is kept: audit, tighten, and re-embed until it holds."""

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.errors import UsageError
from engine.vision.audit import LEAST, audit_size, upper_mean
from engine.vision.controller import TIGHTEST, Controller, scale
from engine.vision.strategies.base import Chunk, Encoded, Strategy, StreamState
from engine.vision.tower import VisionTower

logger = logging.getLogger(__name__)
BLOCKS = 6  # a stream is steered in about that many steps
SHORTEST = 16  # frames of a block


class Scalable(Strategy, Protocol):
    """A strategy that can be made tighter or looser."""

    def with_scale(self, scale: float) -> "Scalable":
        """Return the strategy with less (below 1) or more drift allowed."""


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What a stream's audit found, and what was done to keep the bound."""

    num_frames: int
    audited: int
    mean: float  # estimated mean drift of the vectors as returned
    p95: float  # of the audited frames, as they were before exact vectors replaced them
    worst: float
    upper: float  # the mean drift is at most this, at the stated confidence
    re_embedded: int  # frames embedded densely because the bound asked for it
    fell_back: bool  # a part of the stream, or all, had to be dense
    scale: float  # of the thresholds at its end


@dataclass(slots=True)
class _Block:
    frames: list[int]  # not exact ones
    drifts: list[float]


@dataclass(slots=True)
class _Run:
    """A stream while it is encoded block by block."""

    pixels: Tensor
    random: np.random.Generator
    block: int
    budget: int  # audits for the whole stream
    at: int = 0  # frames fed
    done: int = 0  # frames encoded
    rung: int = 0
    state: StreamState | None = None
    again: int = 0  # times that the block at hand was rejected
    fell_back: bool = False
    re_embedded: int = 0
    blocks: list[_Block] = field(default_factory=list)
    rows: list[Encoded] = field(default_factory=list)
    exact: dict[int, Tensor] = field(default_factory=dict)
    price: Encoded | None = None  # what dense frames cost
    wasted: float = 0.0  # multiply-accumulates of blocks done again

    @property
    def left(self) -> bool:
        return self.done < len(self.pixels)

    @property
    def stop(self) -> int:
        stop = self.at + self.block
        return len(self.pixels) if len(self.pixels) - stop < self.block // 2 else stop

    def chunk(self) -> Chunk:
        start = self.at if self.state else self.done
        return Chunk(self.pixels[start : self.stop], self.state, last=self.stop == len(self.pixels))


class Bounded:
    """Encode streams so that the mean drift of each is at most `max_drift`, at `confidence`.

    A stream waits until it is complete. It is encoded in blocks; of each a random share is embedded
    densely too, which tells how far the strategy drifts. The controller sets the strategy's scale
    for the next block. At the end blocks are re-embedded densely, worst first, until the upper
    confidence bound of the mean is under `max_drift`. Audited frames keep their exact vectors.
    """

    def __init__(
        self,
        strategy: Scalable,
        dense: Strategy,
        *,
        max_drift: float = 0.02,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> None:
        if not 0 < max_drift < 1:
            raise UsageError(f"max_drift must be between 0 and 1, got {max_drift}")
        audit_size(LEAST, confidence)
        self.strategy = strategy
        self.dense = dense
        self.max_drift = max_drift
        self.confidence = confidence
        self.seed = seed
        self.report: list[StreamReport] = []  # of the last call, one for each stream that ended

    @property
    def name(self) -> str:
        """The strategy's own name: what is stored with every row."""
        return self.strategy.name

    @property
    def tower(self) -> VisionTower:
        """The frozen backbone."""
        return self.strategy.tower

    @torch.inference_mode()
    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        """Encode the streams that end with these chunks; the others wait."""
        whole = [
            torch.cat([chunk.state.pending, chunk.pixels]) if chunk.state else chunk.pixels
            for chunk in chunks
        ]
        runs = {
            at: self._start(pixels)
            for at, (chunk, pixels) in enumerate(zip(chunks, whole, strict=True))
            if chunk.last and len(pixels)
        }
        while waiting := [run for run in runs.values() if run.left]:
            self._advance(waiting)
        self.report = []
        results = []
        for at, (chunk, pixels) in enumerate(zip(chunks, whole, strict=True)):
            if at in runs:
                results.append(self._settle(runs[at]))
                continue
            [nothing] = self.dense.encode([Chunk(pixels[:0], last=True)])
            state = None if chunk.last else StreamState(len(pixels), pixels, None, {}, {})
            results.append(_with(nothing, state=state))
        return results

    def _start(self, pixels: Tensor) -> _Run:
        first = zlib.crc32(pixels[0].cpu().numpy().tobytes())
        random = np.random.default_rng([self.seed, first, len(pixels)])
        block = max(SHORTEST, -(-len(pixels) // BLOCKS))
        run = _Run(pixels, random, block, audit_size(len(pixels), self.confidence))
        if len(pixels) < 2 * LEAST:  # auditing would cost as much as embedding
            run.rung, run.fell_back, run.block = TIGHTEST - 1, True, len(pixels)
        return run

    def _advance(self, runs: Sequence[_Run]) -> None:
        """Encode the next block of every run, those with the same scale together, and audit it."""
        fresh: dict[int, Encoded] = {}
        for rung in sorted({run.rung for run in runs}):
            group = [at for at, run in enumerate(runs) if run.rung == rung]
            if rung < TIGHTEST:
                chunks = [_alone(runs[at]) for at in group]
                strategy: Strategy = self.dense
            else:
                chunks = [runs[at].chunk() for at in group]
                strategy = self.strategy.with_scale(scale(rung))
            fresh.update(zip(group, strategy.encode(chunks), strict=True))
        picked = [self._pick(run, fresh[at]) for at, run in enumerate(runs)]
        self._embed(runs, picked)
        for at, run in enumerate(runs):
            drifts = _drifts(run, picked[at], fresh[at].embeddings)
            self._judge(run, fresh[at], drifts)

    def _pick(self, run: _Run, encoded: Encoded) -> list[int]:
        """Frames of the block to audit, drawn from those that are not full."""
        reused = (~encoded.full).nonzero().flatten().cpu().numpy() + run.done
        share = run.budget * len(encoded.full) / len(run.pixels)
        # a block done again passed or failed by its sample: the next sample is larger
        count = min(len(reused), max(2, round(share)) * (1 + run.again))
        return sorted(run.random.choice(reused, count, replace=False).tolist())

    def _embed(self, runs: Sequence[_Run], picked: Sequence[Sequence[int]]) -> None:
        """Embed the picked frames densely, all runs together; those known stay."""
        missing = [
            [frame for frame in frames if frame not in run.exact]
            for run, frames in zip(runs, picked, strict=True)
        ]
        chunks = [
            Chunk(run.pixels[frames], last=True) for run, frames in zip(runs, missing, strict=True)
        ]
        for run, frames, encoded in zip(runs, missing, self.dense.encode(chunks), strict=True):
            run.exact.update(zip(frames, encoded.embeddings, strict=True))
            run.price = encoded if frames else run.price

    def _judge(self, run: _Run, encoded: Encoded, drifts: list[float]) -> None:
        """Accept the block or do it again, and set the scale of the next."""
        dense = run.rung < TIGHTEST
        earlier = [drift for block in run.blocks for drift in block.drifts]
        move = Controller(self.max_drift).move(run.rung, drifts, earlier)
        if move.redo and not dense:
            logger.debug("block at frame %s drifts, rung %s", run.done, move.rung)
            run.wasted += float(encoded.macs.sum())
            run.rung, run.state, run.at = move.rung, None, run.done
            run.again += 1
            run.fell_back |= move.dense
            return
        reused = (~encoded.full).nonzero().flatten().tolist()
        run.blocks.append(_Block([run.done + at for at in reused], drifts))
        run.rows.append(encoded)
        run.re_embedded += len(encoded.full) if dense else 0
        run.at = run.done + len(encoded.full) if dense else run.stop
        run.done += len(encoded.full)
        run.again = 0
        run.state = None if dense or move.refresh else encoded.state
        run.rung = TIGHTEST + 2 if dense else max(move.rung, TIGHTEST)

    def _settle(self, run: _Run) -> Encoded:
        """Re-embed the worst blocks until the bound holds, and put the stream together."""
        audited = [drift for block in run.blocks for drift in block.drifts]
        num_audited = len(run.exact)
        blocks = sorted(run.blocks, key=lambda block: fmean(block.drifts or [0.0]))
        while blocks and self._upper(run, blocks) > self.max_drift:
            frames = [frame for frame in blocks.pop().frames if frame not in run.exact]
            self._embed([run], [frames])
            run.re_embedded += len(frames)
            run.fell_back = True
        kept = [drift for block in blocks for drift in block.drifts]
        share = _remaining(run, blocks) / len(run.pixels)
        self.report.append(
            StreamReport(
                num_frames=len(run.pixels),
                audited=num_audited,
                mean=share * fmean(kept) if kept else 0.0,
                p95=float(np.quantile(audited, 0.95)) if audited else 0.0,
                worst=max(audited, default=0.0),
                upper=self._upper(run, blocks),
                re_embedded=run.re_embedded,
                fell_back=run.fell_back,
                scale=scale(run.rung),
            )
        )
        return self._assemble(run, blocks)

    def _upper(self, run: _Run, blocks: Sequence[_Block]) -> float:
        """Upper confidence bound of the mean drift of the stream's vectors as they stand."""
        remaining = _remaining(run, blocks)
        if not remaining:
            return 0.0
        drifts = [drift for block in blocks for drift in block.drifts]
        frames = sum(len(block.frames) for block in blocks)
        # blocks are not audited in equal shares: each drift counts for its share of the frames
        weighted = [
            drift * (len(drifts) * len(block.frames)) / (len(block.drifts) * frames)
            for block in blocks
            for drift in block.drifts
        ]
        return upper_mean(weighted, self.confidence) * remaining / len(run.pixels)

    def _assemble(self, run: _Run, blocks: Sequence[_Block]) -> Encoded:
        """Join the blocks; exact vectors take the place of approximate ones and are counted."""
        embeddings, computed, macs, full = (
            torch.cat([getattr(row, name) for row in run.rows])
            for name in ("embeddings", "computed", "macs", "full")
        )
        drift = torch.zeros(len(full), device=full.device)
        for block in blocks:
            drift[block.frames] = fmean(block.drifts) if block.drifts else 0.0
        if run.price:
            frames = sorted(run.exact)
            embeddings[frames] = torch.stack([run.exact[frame] for frame in frames])
            computed[frames] = run.price.computed[0]
            macs[frames] += run.price.macs[0]
            drift[frames], full[frames] = 0.0, True
        macs += run.wasted / len(macs)
        return Encoded(embeddings, computed, macs, full, None, drift)


def _alone(run: _Run) -> Chunk:
    """The block as frames of their own, for the dense strategy."""
    return Chunk(run.pixels[run.done : run.stop], last=True)


def _remaining(run: _Run, blocks: Sequence[_Block]) -> int:
    return sum(frame not in run.exact for block in blocks for frame in block.frames)


def _drifts(run: _Run, frames: Sequence[int], embeddings: Tensor) -> list[float]:
    """1 - cosine of the approximate vectors of `frames` to the exact ones."""
    if not frames:
        return []
    exact = torch.stack([run.exact[frame] for frame in frames]).float()
    rows = embeddings[[frame - run.done for frame in frames]].float()
    return (1 - F.cosine_similarity(rows, exact)).clamp(min=0).tolist()


def _with(encoded: Encoded, *, state: StreamState | None) -> Encoded:
    return Encoded(
        encoded.embeddings, encoded.computed, encoded.macs, encoded.full, state, encoded.drift
    )
