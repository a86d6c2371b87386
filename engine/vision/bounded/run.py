"""A stream under a bound while it is encoded: its blocks, what is exact, what it cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.vision.bounded.controller import TIGHTEST
from engine.vision.bounded.correct import Anchors
from engine.vision.bounded.whole import AuditedBlock, AuditedVideo
from engine.vision.streaming.strategy import Chunk, Encoded, StreamState


@dataclass(slots=True)
class SteeredBlock:
    """Frames that were encoded in one step of the controller."""

    start: int
    rung: int
    encoded: Encoded
    frames: list[int]  # that took something from another frame
    drifts: dict[int, float]  # of those audited, once others are told of
    mended: bool  # encoded once more, tighter

    @classmethod
    def of(cls, start: int, rung: int, encoded: Encoded, *, mended: bool = False) -> "SteeredBlock":
        """Begin with nothing audited."""
        reused = (~encoded.full).nonzero().flatten().tolist()
        return cls(start, rung, encoded, [start + at for at in reused], {}, mended)

    @property
    def mean(self) -> float:
        return fmean(self.drifts.values()) if self.drifts else 0.0

    def came(self, frames: Iterable[int]) -> Tensor:
        """Return vectors of frames as the strategy gave them."""
        return self.encoded.embeddings[[frame - self.start for frame in frames]]

    def audit(self, exact: Mapping[int, Tensor], frames: Iterable[int]) -> list[float]:
        """Compare those of `frames` that the block approximates with their exact vectors."""
        known = set(self.frames)
        if not (chosen := [frame for frame in frames if frame in known]):
            return []
        theirs = torch.stack([exact[frame] for frame in chosen]).float()
        ours = self.came(chosen).float()
        drifts: list[float] = (1 - F.cosine_similarity(ours, theirs)).clamp(min=0).tolist()
        self.drifts.update(zip(chosen, drifts, strict=True))
        return drifts


@dataclass(slots=True, eq=False)
class SteeredStream:
    """A stream while it is encoded block by block."""

    pixels: Tensor
    cues: Tensor | None
    video: AuditedVideo
    random: np.random.Generator
    block: int
    at: int = 0  # frames fed
    done: int = 0  # frames encoded
    rung: int = 0
    state: StreamState | None = None
    again: int = 0  # times that the block at hand was rejected
    fell_back: bool = False
    re_embedded: int = 0
    alert: bool = False  # the first look was not enough
    audited: int = 0
    seen: list[float] = field(default_factory=list)  # drifts, also of what was done again
    blocks: list[SteeredBlock] = field(default_factory=list)
    at_hand: SteeredBlock | None = None  # not yet accepted
    exact: dict[int, Tensor] = field(default_factory=dict)
    price: Encoded | None = None  # what dense frames cost
    wasted: float = 0.0  # multiply-accumulates of blocks done again
    company: list["SteeredStream"] = field(default_factory=list)  # of its video, itself too

    @property
    def first(self) -> int:
        """Place of its first frame in the video, as far as streams come in order."""
        before = self.company[: self.company.index(self)]
        return self.video.done + sum(len(each.pixels) for each in before)

    @property
    def audits(self) -> list[SteeredBlock]:
        """Blocks of which frames were audited."""
        own = self.blocks if self.at_hand is None else [*self.blocks, self.at_hand]
        return [block for block in own if block.drifts]

    @property
    def worst(self) -> float:
        """Largest drift audited; once others are told of, where they are."""
        told = [drift for block in self.audits for drift in block.drifts.values()]
        return max(told if self.video.corrects else self.seen, default=0.0)

    @property
    def begun(self) -> bool:
        return bool(self.done or self.again)

    @property
    def left(self) -> bool:
        return self.done < len(self.pixels)

    @property
    def stop(self) -> int:
        stop = self.at + self.block
        return len(self.pixels) if len(self.pixels) - stop < self.block // 2 else stop

    @property
    def open(self) -> list[SteeredBlock]:
        """Blocks with frames that are not exact."""
        return [block for block in self.blocks if self.inexact(block)]

    @property
    def spent(self) -> float:
        """Estimated drift of all frames together."""
        return sum(block.mean * len(self.inexact(block)) for block in self.open)

    @property
    def told(self) -> list[AuditedBlock]:
        """What is known of its blocks so far."""
        return [self.tell(block) for block in self.blocks]

    def tell(self, block: SteeredBlock) -> AuditedBlock:
        """What is known of a block."""
        return AuditedBlock(block.rung, len(self.inexact(block)), tuple(block.drifts.values()))

    def inexact(self, block: SteeredBlock) -> list[int]:
        return [frame for frame in block.frames if frame not in self.exact]

    def chunk(self) -> Chunk:
        """Frames of the next block; the dense strategy takes them by themselves."""
        if self.rung < TIGHTEST:
            return Chunk(self.pixels[self.done : self.stop], last=True)
        chunk = self.part(self.at if self.state else self.done, self.stop)
        return replace(chunk, state=self.state, last=self.stop == len(self.pixels))

    def part(self, start: int, stop: int) -> Chunk:
        """Some of the frames with their cues, as a stream of their own."""
        cues = None if self.cues is None else self.cues[start:stop]
        return Chunk(self.pixels[start:stop], last=True, cues=cues)


def draw(run: SteeredStream, blocks: Sequence[SteeredBlock], size: int, first: int) -> list[int]:
    """Draw frames that are not yet audited, so that of each block on `size` of the stream are.

    At least two of a block are, since one of a block that has changed may be a calm one. Where
    streams share a video at least one is, and of the video's first block `first`, since what comes
    is steered by it. What a block has above its share is spared in those that follow.

    They are spread over the block, one at random from each of as many equal parts: a change within
    the block is not missed by chance.
    """
    drawn: list[int] = []
    chosen = {id(block) for block in blocks}
    done = sum(len(block.drifts) for block in run.blocks if id(block) not in chosen)
    shared = run.video.num_frames > len(run.pixels)
    for block in blocks:
        due = round(size * (block.start + len(block.encoded.full)) / len(run.pixels)) - done
        opening = not (block.start or run.video.blocks) and run is run.company[0]
        wanted = max(due, 2 if not shared else first if opening else 1)
        new = [frame for frame in block.frames if frame not in block.drifts]
        count = min(max(wanted - len(block.drifts), 0), len(new))
        done += len(block.drifts) + count
        drawn += (
            [int(run.random.choice(part)) for part in np.array_split(new, count)] if count else []
        )
    return drawn


def draw_more(run: SteeredStream, block: SteeredBlock, count: int) -> list[int]:
    """Draw so many frames of a block that are not yet exact, spread over it."""
    parts = np.array_split(run.inexact(block), count)
    return [int(run.random.choice(part)) for part in parts]


def alone(run: SteeredStream, block: SteeredBlock) -> Chunk:
    """Return a block as a stream of its own."""
    return run.part(block.start, block.start + len(block.encoded.full))


def anchors_of(company: Sequence[SteeredStream]) -> Anchors | None:
    """Return what audits showed of a video: of streams at hand, then of those returned before."""
    parts = [_anchors(run) for run in company if run.audits]
    if company and (before := company[0].video.anchors) is not None:
        parts.append(before)
    return Anchors.joined(parts) if parts else None


def _anchors(run: SteeredStream) -> Anchors:
    frames = [frame for block in run.audits for frame in block.drifts]
    ours = torch.cat([block.came(block.drifts) for block in run.audits])
    exact = torch.stack([run.exact[frame] for frame in frames])
    return Anchors.of(ours, exact, torch.tensor(frames, device=ours.device) + run.first)


def recheck(runs: Iterable[SteeredStream]) -> None:
    """Give each audited frame the drift that is left once others are told, where telling helps."""
    for company in {id(run.company): run.company for run in runs}.values():
        if (anchors := anchors_of(company)) is None:
            continue
        told, company[0].video.corrects = anchors.told()
        drifts = iter(told.tolist())
        for block in (block for run in company for block in run.audits):
            block.drifts = dict(zip(block.drifts, drifts, strict=False))


def joined(company: Sequence[SteeredStream]) -> list[tuple[SteeredStream, Encoded]]:
    """Assemble the streams of a video, and keep what audits showed for those to come."""
    video, anchors = company[0].video, anchors_of(company)
    told = anchors if video.corrects else None
    done = [(run, assemble(run, told)) for run in company]
    video.anchors = anchors
    return done


def assemble(run: SteeredStream, anchors: Anchors | None) -> Encoded:
    """Join the blocks; exact vectors take the place of approximate ones and are counted.

    What `anchors` tell of frames like them is taken off.
    """
    embeddings, computed, macs, full = (
        torch.cat([getattr(block.encoded, name) for block in run.blocks])
        for name in ("embeddings", "computed", "macs", "full")
    )
    drift = torch.zeros(len(full), device=full.device)
    for block in run.open:
        drift[block.frames] = block.mean
        if anchors is not None:
            places = torch.tensor(block.frames, device=drift.device) + run.first
            embeddings[block.frames] = anchors.take_off(embeddings[block.frames], places)
    if run.price:
        frames = sorted(run.exact)
        embeddings[frames] = torch.stack([run.exact[frame] for frame in frames])
        computed[frames] = run.price.computed[0]
        macs[frames] += run.price.macs[0]
        drift[frames], full[frames] = 0.0, True
    macs += run.wasted / len(macs)
    return Encoded(embeddings, computed, macs, full, None, drift)
