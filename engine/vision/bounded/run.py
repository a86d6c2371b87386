"""A stream under a bound while it is encoded: its blocks, what is exact, what it cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.vision.bounded.controller import TIGHTEST
from engine.vision.bounded.whole import AuditedBlock, AuditedVideo
from engine.vision.streaming.strategy import Chunk, Encoded, StreamState


@dataclass(slots=True)
class SteeredBlock:
    """Frames that were encoded in one step of the controller."""

    start: int
    rung: int
    encoded: Encoded
    frames: list[int]  # that took something from another frame
    drifts: dict[int, float]  # of those audited
    mended: bool  # encoded once more, tighter

    @classmethod
    def of(cls, start: int, rung: int, encoded: Encoded, *, mended: bool = False) -> "SteeredBlock":
        """Begin with nothing audited."""
        reused = (~encoded.full).nonzero().flatten().tolist()
        return cls(start, rung, encoded, [start + at for at in reused], {}, mended)

    @property
    def mean(self) -> float:
        return fmean(self.drifts.values()) if self.drifts else 0.0

    def audit(self, exact: Mapping[int, Tensor], frames: Iterable[int]) -> list[float]:
        """Compare those of `frames` that the block approximates with their exact vectors."""
        known = set(self.frames)
        if not (chosen := [frame for frame in frames if frame in known]):
            return []
        theirs = torch.stack([exact[frame] for frame in chosen]).float()
        ours = self.encoded.embeddings[[frame - self.start for frame in chosen]].float()
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
    exact: dict[int, Tensor] = field(default_factory=dict)
    price: Encoded | None = None  # what dense frames cost
    wasted: float = 0.0  # multiply-accumulates of blocks done again
    company: list["SteeredStream"] = field(default_factory=list)  # of its video, itself too

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
    """Draw frames that are not yet audited, for each block its share of `size` of the stream.

    A video's first block has at least `first`, since what comes is steered by it.

    They are spread over the block, one at random from each of as many equal parts: a change within
    the block is not missed by chance.
    """
    drawn: list[int] = []
    for block in blocks:
        stop = block.start + len(block.encoded.full)
        before, after = (round(size * at / len(run.pixels)) for at in (block.start, stop))
        opening = not (block.start or run.video.blocks) and run is run.company[0]
        wanted = max(first if opening else 1, after - before)
        new = [frame for frame in block.frames if frame not in block.drifts]
        count = min(max(wanted - len(block.drifts), 0), len(new))
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


def assemble(run: SteeredStream) -> Encoded:
    """Join the blocks; exact vectors take the place of approximate ones and are counted."""
    embeddings, computed, macs, full = (
        torch.cat([getattr(block.encoded, name) for block in run.blocks])
        for name in ("embeddings", "computed", "macs", "full")
    )
    drift = torch.zeros(len(full), device=full.device)
    for block in run.open:
        drift[block.frames] = block.mean
    if run.price:
        frames = sorted(run.exact)
        embeddings[frames] = torch.stack([run.exact[frame] for frame in frames])
        computed[frames] = run.price.computed[0]
        macs[frames] += run.price.macs[0]
        drift[frames], full[frames] = 0.0, True
    macs += run.wasted / len(macs)
    return Encoded(embeddings, computed, macs, full, None, drift)
