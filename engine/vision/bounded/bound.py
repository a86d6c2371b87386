"""A bound on drift that is kept: audit, tighten, and re-embed until it holds."""

import logging
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from engine.errors import UsageError
from engine.vision.backbone.tower import VisionTower
from engine.vision.bounded.audit import (
    EARLY,
    audit_size,
    check_confidence,
    room,
    stretch_risk,
    upper_mean,
)
from engine.vision.bounded.controller import TIGHTEST, Audited, Controller, Move, rungs_to, scale
from engine.vision.bounded.run import (
    SteeredBlock,
    SteeredStream,
    alone,
    assemble,
    draw,
    draw_more,
)
from engine.vision.streaming.strategy import Chunk, Encoded, Strategy, check_whole

logger = logging.getLogger(__name__)
BLOCKS = 6  # steps at most that a stream is steered in, each of one and a half audits or more
SHORTEST = 16  # frames of a block; of a shorter stream the audit would cost what reuse gains
ALERT = 4.0  # of the bound: a frame that drifts more calls for the second look
AIM = 0.8  # of what the first look would pass
WORTH = 2  # rungs: a block that needs more is rather embedded densely
DEARER = 1.2  # a rung tighter costs about so much more
IDLE = 0.9  # of dense: where a block costs more, the rest of the stream is dense, unaudited
PAYS = 0.8  # of dense: what costs more is embedded densely, since it may drift still


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


class Bounded:
    """Encode streams so that the mean drift of each is at most `max_drift`, at `confidence`.

    A whole stream is encoded in blocks; of each a random share is embedded
    densely too, which tells how far the strategy drifts. The controller sets the strategy's scale
    for the next block, so that this first look is most likely enough. Else as many are audited
    again, and blocks are encoded tighter or frames of them embedded densely, worst first, until
    the upper confidence bound of the mean is under `max_drift`. Audited frames keep their exact
    vectors. Of a stream that is a share of a video the confidence is that of the video.
    """

    whole_streams = True

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
        check_confidence(confidence)
        self.strategy = strategy
        self.dense = dense
        self.max_drift = max_drift
        self.confidence = confidence
        self.seed = seed
        self.report: list[StreamReport] = []  # of the last call, one for each stream

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
        """Encode whole streams, side by side."""
        check_whole(self, chunks)
        runs = {at: self._start(chunk) for at, chunk in enumerate(chunks) if len(chunk.pixels)}
        while waiting := [run for run in runs.values() if run.left]:
            self._advance(waiting)
        self._settle(list(runs.values()))
        self.report = [self._tell(run) for run in runs.values()]
        empty = self.dense.encode([chunk for at, chunk in enumerate(chunks) if at not in runs])
        rest = iter(empty)
        return [assemble(runs[at]) if at in runs else next(rest) for at in range(len(chunks))]

    def _start(self, chunk: Chunk) -> SteeredStream:
        pixels = chunk.pixels
        first = zlib.crc32(pixels[0].cpu().numpy().tobytes())
        random = np.random.default_rng([self.seed, first, len(pixels)])
        steps = min(BLOCKS, max(1, 2 * audit_size(len(pixels), chunk.share) // 3))
        block = max(SHORTEST, -(-len(pixels) // steps))
        run = SteeredStream(pixels, chunk.cues, chunk.share, random, block)
        if len(pixels) < SHORTEST:
            run.rung, run.fell_back, run.block = TIGHTEST - 1, True, len(pixels)
        return run

    def _advance(self, runs: Sequence[SteeredStream]) -> None:
        """Encode the next block of every run, those with the same scale together, and audit it."""
        encoded = self._encode([(run.rung, run.chunk()) for run in runs])
        pairs = [
            (run, SteeredBlock.of(run.done, run.rung, each))
            for run, each in zip(runs, encoded, strict=True)
        ]
        self._audit([(run, [block], self._size(run)) for run, block in pairs])
        self._embed(runs, [self._judge(run, block) for run, block in pairs])

    def _encode(self, work: Sequence[tuple[int, Chunk]]) -> list[Encoded]:
        """Encode chunks at their rungs, those of one rung together; below the tightest densely."""
        found: dict[int, Encoded] = {}
        for rung in sorted({rung for rung, _ in work}):
            group = [at for at, (each, _) in enumerate(work) if each == rung]
            tight = rung < TIGHTEST
            strategy = self.dense if tight else self.strategy.with_scale(scale(rung))
            encoded = strategy.encode([work[at][1] for at in group])
            found.update(zip(group, encoded, strict=True))
        return [found[at] for at in range(len(work))]

    def _size(self, run: SteeredStream) -> int:
        """Frames of a look; a block done again passes by its sample, so that grows."""
        size = audit_size(len(run.pixels), run.share) * (1 + run.again)
        return min(len(run.pixels), size * (2 if run.alert else 1))

    def _audit(self, work: Sequence[tuple[SteeredStream, Sequence[SteeredBlock], int]]) -> None:
        """Draw frames of blocks until each has its share of `size` of the stream, and compare."""
        drawn = [draw(run, blocks, size) for run, blocks, size in work]
        self._embed([run for run, _, _ in work], drawn)
        for (run, blocks, _), frames in zip(work, drawn, strict=True):
            run.audited += len(frames)
            for block in blocks:
                run.seen += block.audit(run.exact, frames)

    def _embed(self, runs: Sequence[SteeredStream], picked: Sequence[Sequence[int]]) -> None:
        """Embed the picked frames densely, all runs together; those known stay."""
        missing = [
            [frame for frame in frames if frame not in run.exact]
            for run, frames in zip(runs, picked, strict=True)
        ]
        if not any(missing):
            return
        chunks = [
            Chunk(run.pixels[frames], last=True) for run, frames in zip(runs, missing, strict=True)
        ]
        for run, frames, encoded in zip(runs, missing, self.dense.encode(chunks), strict=True):
            run.exact.update(zip(frames, encoded.embeddings, strict=True))
            run.price = encoded if frames else run.price

    def _judge(self, run: SteeredStream, block: SteeredBlock) -> list[int]:
        """Accept the block or do it again, and set the scale of the next.

        Returns the frames that must be embedded densely, where the block would not do tighter.
        """
        encoded, dense = block.encoded, run.rung < TIGHTEST
        move = self._move(run, block)
        left = run.inexact(block) if move.redo else []
        if left and self._pays(run, block, move.rung, len(left)):
            logger.debug("block at frame %s drifts, rung %s", run.done, move.rung)
            run.wasted += float(encoded.macs.sum())
            run.rung, run.state, run.at = move.rung, None, run.done
            run.again += 1
            return []
        dense |= move.redo
        run.blocks.append(block)
        run.re_embedded += len(encoded.full) if run.rung < TIGHTEST else len(left)
        run.fell_back |= dense
        run.at = run.done + len(encoded.full) if dense else run.stop
        run.done += len(encoded.full)
        run.again = 0
        run.state = None if dense or move.refresh else encoded.state
        run.rung = TIGHTEST + 2 if dense else max(move.rung, TIGHTEST)
        if run.price and float(encoded.macs.mean()) > IDLE * float(run.price.macs[0]):
            run.rung, run.state, run.at = TIGHTEST - 1, None, run.done
            run.block = len(run.pixels)
            run.fell_back |= run.left
        return left

    def _move(self, run: SteeredStream, block: SteeredBlock) -> Move:
        """Let the controller decide by what the audits saw, this block's last."""
        blocks = [*run.blocks, block]
        audited = [Audited(drift, b.rung) for b in blocks for drift in b.drifts.values()]
        done = run.done + len(block.encoded.full)
        spent = sum(b.mean * len(run.inexact(b)) for b in blocks) / len(run.pixels)
        left = 1 - done / len(run.pixels)
        return Controller(self.max_drift, self._aim(run)).move(run.rung, audited, spent, left)

    def _aim(self, run: SteeredStream) -> float:
        """Mean drift to steer to: the first look at it is most likely enough."""
        return AIM * room(audit_size(len(run.pixels), run.share), self._risk(run)) * self.max_drift

    def _settle(self, runs: Sequence[SteeredStream]) -> None:
        """Audit once more what the first look did not settle, then mend until the bound holds."""
        bound, most = self.max_drift, ALERT * self.max_drift
        unsettled = [
            run for run in runs if self._upper(run) > bound or max(run.seen, default=0.0) > most
        ]
        for run in unsettled:
            run.alert = True
        self._audit([(run, run.blocks, self._size(run)) for run in unsettled])
        while above := [run for run in unsettled if self._upper(run) > self.max_drift]:
            self._mend(above)

    def _mend(self, runs: Sequence[SteeredStream]) -> None:
        """Encode the worst block of each run tighter, or some of it densely where that is less.

        Frames embedded densely are drawn at random: they are audited, and what they show counts.
        """
        worst = [max(run.open, key=lambda block: block.mean) for run in runs]
        tighter, densely = [], []
        for run, block in zip(runs, worst, strict=True):
            upper, left = self._upper(run), len(run.inexact(block))
            rung = block.rung - max(1, rungs_to(upper / self.max_drift))
            over = (1 - self.max_drift / upper) * run.spent / max(block.mean, 1e-9)
            wanted = min(left, math.ceil(over) + 1)
            worth = not block.mended and block.rung - rung <= WORTH
            if worth and self._pays(run, block, rung, wanted):
                tighter.append((run, block, rung))
            else:
                densely.append((run, block, wanted))
        self._replace(densely)
        encoded = self._encode([(rung, alone(run, block)) for run, block, rung in tighter])
        for (run, block, rung), each in zip(tighter, encoded, strict=True):
            run.wasted += float(block.encoded.macs.sum())
            again = SteeredBlock.of(block.start, rung, each, mended=True)
            again.audit(run.exact, block.drifts)
            run.blocks[run.blocks.index(block)] = again

    def _replace(self, work: Sequence[tuple[SteeredStream, SteeredBlock, int]]) -> None:
        """Embed so many more frames of each block densely, and count what they show."""
        drawn = [draw_more(run, block, count) for run, block, count in work]
        self._embed([run for run, _, _ in work], drawn)
        for (run, block, _), frames in zip(work, drawn, strict=True):
            run.re_embedded += len(frames)
            run.fell_back = True
            run.seen += block.audit(run.exact, frames)

    def _pays(self, run: SteeredStream, block: SteeredBlock, rung: int, frames: int) -> bool:
        """Say whether the block at a tighter rung costs clearly less than `frames` embedded."""
        if rung < TIGHTEST or run.price is None:
            return False
        expected = float(block.encoded.macs.sum()) * DEARER ** (block.rung - rung)
        return expected < PAYS * frames * float(run.price.macs[0])

    def _risk(self, run: SteeredStream) -> float:
        """Return the risk of the look at hand: the two looks share it."""
        return stretch_risk(self.confidence, run.share) * ((1 - EARLY) if run.alert else EARLY)

    def _upper(self, run: SteeredStream) -> float:
        """Upper confidence bound of the mean drift of the stream's vectors as they stand."""
        blocks = run.open
        if not blocks:
            return 0.0
        if not all(block.drifts for block in blocks):
            return math.inf
        sizes = [len(run.inexact(block)) for block in blocks]
        total = sum(len(block.drifts) for block in blocks)
        # blocks are not audited in equal shares: each drift counts for its share of the frames
        weighted = [
            drift * total * size / (len(block.drifts) * sum(sizes))
            for block, size in zip(blocks, sizes, strict=True)
            for drift in block.drifts.values()
        ]
        return upper_mean(weighted, self._risk(run)) * sum(sizes) / len(run.pixels)

    def _tell(self, run: SteeredStream) -> StreamReport:
        return StreamReport(
            num_frames=len(run.pixels),
            audited=run.audited,
            mean=run.spent / len(run.pixels),
            p95=float(np.quantile(run.seen, 0.95)) if run.seen else 0.0,
            worst=max(run.seen, default=0.0),
            upper=self._upper(run),
            re_embedded=run.re_embedded,
            fell_back=run.fell_back,
            scale=scale(run.rung),
        )
