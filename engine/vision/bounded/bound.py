"""A bound on drift that is kept: audit, tighten, and re-embed until it holds."""

import logging
import math
import zlib
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

import numpy as np
import torch

from engine.errors import UsageError
from engine.vision.backbone.tower import VisionTower
from engine.vision.bounded.audit import check_confidence
from engine.vision.bounded.controller import (
    TIGHTEST,
    Controller,
    Move,
    rungs,
    rungs_to,
    scale,
)
from engine.vision.bounded.run import (
    SteeredBlock,
    SteeredStream,
    alone,
    draw,
    draw_more,
    joined,
    recheck,
)
from engine.vision.bounded.whole import AuditedBlock, AuditedVideo, seen_at
from engine.vision.streaming.strategy import Chunk, Encoded, Scalable, Steady, Strategy, check_whole

logger = logging.getLogger(__name__)
BLOCKS = 6  # steps at most that a stream is steered in, each of one and a half audits or more
SHORTEST = 16  # frames of a block; of a shorter stream the audit would cost what reuse gains
ALERT = 4.0  # of the bound: a frame that drifts more calls for the second look
AIM = 0.7  # of what the first look would pass
WORTH = 4  # rungs: a block that needs more is rather embedded densely
DEARER = 1.1  # a rung tighter costs about so much more
IDLE = 0.9  # of dense: where a block costs more, the rest of the stream is dense, unaudited
USUAL = 0.5  # of the bound, drift at rung 0 where no video was seen yet
MEMORY = 64  # streams whose drift says at which rung a video begins
PILOT = 3  # audits of a video's first block
OPEN = 4096  # videos at most of which streams are still to come
UNEVEN = 1.5  # squared coefficient of variation of drifts that calls for the second look
MENDS = 3  # steps to embed what seems to be needed, each of which is audited
SECOND = 2  # times as many audits as at a first look
PAYS = 0.8  # of dense: what costs more is embedded densely, since it may drift still


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
    """Encode streams so that the mean drift of each video is at most `max_drift`, at `confidence`.

    A whole stream is encoded in blocks; of each a random share is embedded
    densely too, which tells how far the strategy drifts. The controller sets the strategy's scale
    for the next block, so that this first look is most likely enough. Else as many are audited
    again, and blocks are encoded tighter or frames of them embedded densely, worst first, until
    the upper confidence bound of the mean is under `max_drift`. Audited frames keep their exact
    vectors. Streams that are parts of one video share its audits: see `AuditedVideo`. A strategy
    that is not `Scalable` stays at its one setting, so that what drifts is embedded densely; one
    that takes whole streams gets each as one block.
    """

    whole_streams = True

    def __init__(
        self,
        strategy: Strategy,
        dense: Strategy,
        *,
        max_drift: float = 0.02,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> None:
        if not 0 < max_drift < 1:
            raise UsageError(f"max_drift must be between 0 and 1, got {max_drift}")
        check_confidence(confidence)
        self.strategy = strategy.steadied() if isinstance(strategy, Steady) else strategy
        self.dense = dense
        self.max_drift = max_drift
        self.confidence = confidence
        self.seed = seed
        self.report: list[StreamReport] = []  # of the last call, one for each stream
        self._levels: deque[float] = deque(maxlen=MEMORY)  # of videos, their drift at rung 0
        self._videos: dict[Hashable, AuditedVideo] = {}  # of which streams are still to come

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
        company: dict[int, list[SteeredStream]] = {}
        for run in runs.values():
            run.company = company.setdefault(id(run.video), [])
            run.company.append(run)
        self._advance([run for run in runs.values() if run is run.company[0] and run.left])
        while waiting := [run for run in runs.values() if run.left]:
            self._advance(waiting)
        self._settle(list(runs.values()))
        self.report = [self._tell(run) for run in runs.values()]
        done = {id(run): each for own in company.values() for run, each in joined(own)}
        for run in runs.values():
            told = seen_at(run.told)
            self._levels += [fmean(each.at(0) for each in told)] if told else []
            run.video.settle(run.told, len(run.pixels))
        self._forget()
        empty = self.dense.encode([chunk for at, chunk in enumerate(chunks) if at not in runs])
        rest = iter(empty)
        return [done[id(runs[at])] if at in runs else next(rest) for at in range(len(chunks))]

    def _start(self, chunk: Chunk) -> SteeredStream:
        pixels, part = chunk.pixels, chunk.part_of
        if part is None:
            video = AuditedVideo(len(pixels), self.max_drift, self.confidence)
        else:
            limit, risk = part.share * self.max_drift, part.risk * (1 - self.confidence)
            video = self._videos.setdefault(
                part.key, AuditedVideo(part.num_frames, limit, 1 - risk)
            )
        if not video.blocks and not video.done:
            video.rung = self._opening(video)
        first = zlib.crc32(pixels[0].cpu().numpy().tobytes())
        random = np.random.default_rng([self.seed, first, len(pixels)])
        block = SHORTEST if not video.blocks else _steady(video, len(pixels))
        block = len(pixels) if self.strategy.whole_streams else block
        run = SteeredStream(pixels, chunk.cues, video, random, block)
        if video.num_frames < SHORTEST:
            video.rung, run.fell_back, run.block = TIGHTEST - 1, True, len(pixels)
        return run

    def _opening(self, video: AuditedVideo) -> int:
        """Return the rung for a video of which nothing is known: earlier ones say how much drifts.

        The promise does not rest on it.
        """
        usual = fmean(self._levels) if self._levels else USUAL * video.max_drift
        aim = AIM * video.aim
        return max(TIGHTEST, min(0, -rungs(usual / aim)))

    def _forget(self) -> None:
        """Let go of videos that have come to their end, and of the oldest of very many."""
        for key in [key for key, video in self._videos.items() if video.done >= video.num_frames]:
            del self._videos[key]
        for key in list(self._videos)[: max(0, len(self._videos) - OPEN)]:
            del self._videos[key]

    def _advance(self, runs: Sequence[SteeredStream]) -> None:
        """Encode the next block of every run, those with the same scale together, and audit it."""
        for run in runs:
            if not run.begun:
                run.rung = self._held(run.video.rung)
        encoded = self._encode([(run.rung, run.chunk()) for run in runs])
        pairs = [
            (run, SteeredBlock.of(run.done, run.rung, each))
            for run, each in zip(runs, encoded, strict=True)
        ]
        for run, block in pairs:
            run.at_hand = block
        self._audit([(run, [block], self._size(run)) for run, block in pairs])
        self._embed(runs, [self._judge(run, block) for run, block in pairs])

    def _encode(self, work: Sequence[tuple[int, Chunk]]) -> list[Encoded]:
        """Encode chunks at their rungs, those of one rung together; below the tightest densely."""
        found: dict[int, Encoded] = {}
        for rung in sorted({rung for rung, _ in work}):
            group = [at for at, (each, _) in enumerate(work) if each == rung]
            tight = rung < TIGHTEST
            strategy = self.dense if tight else self._scaled(rung)
            encoded = strategy.encode([work[at][1] for at in group])
            found.update(zip(group, encoded, strict=True))
        return [found[at] for at in range(len(work))]

    def _scaled(self, rung: int) -> Strategy:
        """Return the strategy at a rung; what cannot be scaled is as it is."""
        strategy = self.strategy
        return strategy.with_scale(scale(rung)) if isinstance(strategy, Scalable) else strategy

    def _held(self, rung: int) -> int:
        """Return the rung at which the strategy can run: 0 where it has just one setting."""
        return rung if rung < TIGHTEST or isinstance(self.strategy, Scalable) else 0

    def _size(self, run: SteeredStream) -> int:
        """Frames of a look; a block done again passes by its sample, so that grows."""
        size = run.video.size(len(run.pixels)) * (1 + run.again)
        return min(len(run.pixels), size * (SECOND if run.alert else 1))

    def _audit(self, work: Sequence[tuple[SteeredStream, Sequence[SteeredBlock], int]]) -> None:
        """Draw frames of blocks until each has its share of `size` of the stream, and compare."""
        drawn = [draw(run, blocks, size, PILOT) for run, blocks, size in work]
        self._embed([run for run, _, _ in work], drawn)
        for (run, blocks, _), frames in zip(work, drawn, strict=True):
            run.audited += len(frames)
            for block in blocks:
                run.seen += block.audit(run.exact, frames)
        recheck(run for run, _, _ in work)

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
        run.at_hand = None
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
        run.rung = self._held(TIGHTEST + 4 if dense else max(move.rung, TIGHTEST))
        run.block, run.video.rung = _steady(run.video, len(run.pixels)), max(run.rung, TIGHTEST)
        if run.price and float(encoded.macs.mean()) > IDLE * float(run.price.macs[0]):
            run.rung, run.state, run.at = TIGHTEST - 1, None, run.done
            run.block = len(run.pixels)
            run.fell_back |= run.left
        return left

    def _move(self, run: SteeredStream, block: SteeredBlock) -> Move:
        """Let the controller decide by what the video's audits saw, this block's last."""
        blocks = [*_known(run), run.tell(block)]
        done = _done(run) + len(block.encoded.full)
        total = max(run.video.num_frames, done)
        spent = sum(each.spent for each in blocks) / total
        controller = Controller(run.video.max_drift, AIM * run.video.aim)
        return controller.move(run.rung, seen_at(blocks), spent, 1 - done / total)

    def _settle(self, runs: Sequence[SteeredStream]) -> None:
        """Audit once more what the first look did not settle, then mend until the bound holds."""
        doubtful = {id(run.video) for run in runs if self._above(run) or self._uneven(run)}
        unsettled = [
            run
            for run in runs
            if id(run.video) in doubtful or run.worst > ALERT * run.video.max_drift
        ]
        for run in unsettled:
            run.alert = run.video.alert = True
        self._audit([(run, run.blocks, self._size(run)) for run in unsettled])
        heads = list({id(run.video): run for run in unsettled}.values())
        while left := [
            run for run in heads if self._above(run) and any(each.open for each in run.company)
        ]:
            self._mend(left)

    def _above(self, run: SteeredStream) -> bool:
        """Whether the video's streams so far may drift more than they are allowed."""
        return self._upper(run) > run.video.limit(_done(run))

    def _uneven(self, run: SteeredStream) -> bool:
        """Whether parts of a video drift so differently that few audits may have missed some."""
        seen = [each.at(0) for each in seen_at(_known(run))]
        if len(seen) < 2 or max(seen) < run.video.max_drift:
            return False
        return variance(seen) > UNEVEN * fmean(seen) ** 2

    def _mend(self, heads: Sequence[SteeredStream]) -> None:
        """Encode the worst block of each video tighter, or some of it densely where that is less.

        Frames embedded densely are drawn at random: they are audited, and what they show counts.
        """
        tighter, densely = [], []
        for head in heads:
            run, block = max(
                ((run, block) for run in head.company for block in run.open),
                key=lambda pair: pair[1].mean,
            )
            upper, left = self._upper(run), len(run.inexact(block))
            limit = run.video.limit(_done(run))
            rung = block.rung - max(1, rungs_to(upper / limit))
            spent = sum(each.spent for each in _known(run))
            over = (1 - limit / upper) * spent / max(block.mean, 1e-9)
            wanted = min(left, math.ceil(over / MENDS) + 1)
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
        recheck(heads)

    def _replace(self, work: Sequence[tuple[SteeredStream, SteeredBlock, int]]) -> None:
        """Embed so many more frames of each block densely, and count what they show."""
        drawn = [draw_more(run, block, count) for run, block, count in work]
        self._embed([run for run, _, _ in work], drawn)
        for (run, block, _), frames in zip(work, drawn, strict=True):
            run.re_embedded += len(frames)
            run.fell_back = True
            run.seen += block.audit(run.exact, frames)
        recheck(run for run, _, _ in work)

    def _pays(self, run: SteeredStream, block: SteeredBlock, rung: int, frames: int) -> bool:
        """Say whether the block at a tighter rung costs clearly less than `frames` embedded."""
        if rung < TIGHTEST or run.price is None or not isinstance(self.strategy, Scalable):
            return False
        expected = float(block.encoded.macs.sum()) * DEARER ** (block.rung - rung)
        return expected < PAYS * frames * float(run.price.macs[0])

    def _upper(self, run: SteeredStream) -> float:
        """Upper confidence bound of the mean drift of the video's streams so far, as they stand."""
        return run.video.upper(_known(run), _done(run))

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


def _steady(video: AuditedVideo, frames: int) -> int:
    """Return the frames of a block once it is known how a video drifts."""
    steps = min(BLOCKS, max(1, 2 * video.size(frames) // 3))
    return max(SHORTEST, -(-frames // steps))


def _known(run: SteeredStream) -> list[AuditedBlock]:
    """What audits saw of a video so far, in streams returned before and those at hand."""
    return [*run.video.blocks, *(block for each in run.company for block in each.told)]


def _done(run: SteeredStream) -> int:
    """Frames of a video that are encoded so far."""
    return run.video.done + sum(each.done for each in run.company)
