"""The drift bound on made-up streams: how often it is kept, and what it costs.

Frames are numbers and vectors lie on a circle, so a stream takes a millisecond: enough are drawn
anew to count the failures. Drifts are drawn around a level that changes as streams' do, or as it
would have to change to fool an audit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.evaluation.report import Cell, Report
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.bounded.bound import Bounded
from engine.vision.streaming.strategy import Chunk, Encoded, PartOf, StreamState

Levels = Callable[[int], NDArray[np.float64]]
SIZES = ((1, 40), (1, 120), (1, 280), (5, 56))  # stretches of a video, and their frames
LANES = 4  # stretches that an ingest encodes side by side
STEEP = 1.3  # a made-up strategy's drift grows as its scale to this power
UNIT = 1e6  # of an angle
CHEAPER = 0.45  # and its cost falls as its scale to this power, as the early gate's does
SHARE = 0.25  # of dense, what it costs at scale 1


def _spans(*spans: tuple[float, float]) -> Levels:
    """Levels by shares of the stream: `(share, level)`."""

    def levels(frames: int) -> NDArray[np.float64]:
        edges = np.cumsum([share for share, _ in spans]) * frames
        at = np.searchsorted(edges, np.arange(frames), side="right").clip(max=len(spans) - 1)
        return np.array([level for _, level in spans])[at]

    return levels


@dataclass(frozen=True, slots=True)
class MadeStream:
    """A kind of stream: how far its frames drift, how long they look alike, and which way."""

    levels: Levels
    alike: int = 1  # frames in a row whose vectors are the same to the strategy
    stale: bool = False  # and which are off by the same; else each by its own, this way or that


STREAMS: Mapping[str, MadeStream] = {
    "still": MadeStream(_spans((1, 0.002))),
    "usual": MadeStream(_spans((1, 0.008))),
    "near the bound": MadeStream(_spans((1, 0.02))),
    "busy": MadeStream(_spans((1, 0.1))),
    "jump": MadeStream(_spans((0.5, 0.002), (0.5, 0.09))),
    "calms": MadeStream(_spans((0.3, 0.09), (0.7, 0.001))),
    "mixed": MadeStream(lambda n: np.where(np.arange(n) % 2, 0.03, 0.001)),
    "burst of 7 %": MadeStream(_spans((0.465, 0.005), (0.07, 0.1), (0.465, 0.005))),
    "creep": MadeStream(lambda n: np.linspace(0.0, 0.05, n)),
    "bursts at random": MadeStream(lambda n: np.where(np.arange(n) * 7919 % 97 < 10, 0.12, 0.004)),
    "stale": MadeStream(_spans((1, 0.02)), alike=25, stale=True),
    "stale for moments": MadeStream(_spans((1, 0.02)), alike=4, stale=True),
    "alike and turned": MadeStream(_spans((1, 0.02)), alike=25),
    "stale, then turned": MadeStream(_spans((1, 0.03)), alike=12),
}


@dataclass(frozen=True)
class Circle:
    """Dense vectors of made-up frames: the unit vector at the angle that a frame's pixel holds."""

    tower: VisionTower
    name: str = "dense"
    whole_streams: bool = False

    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        """Encode exactly, at a cost of 1 a frame."""
        return [self.answer(chunk, torch.zeros(len(chunk.pixels)), 1.0) for chunk in chunks]

    def answer(self, chunk: Chunk, drift: Tensor, cost: float) -> Encoded:
        """Return vectors that are off by `drift`."""
        way = chunk.pixels[:, 2, 0, 0].double()
        angle = chunk.pixels[:, 0, 0, 0].double() / UNIT + way * (1 - drift.double()).acos()
        count, seen = len(angle), chunk.state.num_frames if chunk.state else 0
        state = None if chunk.last else StreamState(seen + count, chunk.pixels[:0])
        layers = self.tower.config.layers
        return Encoded(
            embeddings=torch.stack([angle.cos(), angle.sin()], 1),
            computed=torch.zeros((count, layers), dtype=torch.int32),
            macs=torch.full((count,), cost, dtype=torch.float64),
            full=drift == 0,
            state=state,
        )


@dataclass(frozen=True)
class Drifting:
    """Drifts by what a frame's other pixels say, more with the scale, and costs less with it."""

    dense: Circle
    scale: float = 1.0
    name: str = "made-up"
    whole_streams: bool = False

    @property
    def tower(self) -> VisionTower:
        """The tower that nothing is asked of."""
        return self.dense.tower

    def with_scale(self, scale: float) -> "Drifting":
        """Drift and cost by the scale."""
        return replace(self, scale=self.scale * scale)

    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        """Encode with drift; what starts a stream is exact."""
        cost = min(1.0, SHARE * self.scale**-CHEAPER)
        return [self.dense.answer(chunk, self.drift(chunk), cost) for chunk in chunks]

    def drift(self, chunk: Chunk) -> Tensor:
        """Return each frame's drift."""
        drift = chunk.pixels[:, 1, 0, 0].double() / 1e4 * self.scale**STEEP
        if chunk.state is None and len(drift):
            drift[0] = 0.0
        return drift.clamp(max=1.0)


def run(
    *,
    rounds: int = 200,
    seed: int = 7,
    max_drift: float = 0.02,
    sizes: Sequence[tuple[int, int]] = SIZES,
    streams: Mapping[str, MadeStream] = STREAMS,
) -> Report:
    """Hold the made-up strategy under the bound, on videos drawn anew.

    Columns beside those of the bound: cost and audits with dense as 1, and the gain as a share of
    what the strategy would gain, unbounded, at the scale at which it has the drift stored.
    """
    rows: list[list[Cell]] = []
    for stretches, frames in sizes:
        for name, kind in streams.items():
            found = _videos(kind, frames, stretches, rounds, seed, max_drift)
            length = f"{stretches} × {frames}" if stretches > 1 else str(frames)
            rows.append([name, length, *_told(found, max_drift)])
    columns = ("stream", "frames", "kept", "drift", "worst", "cost", "audited", "of its gain")
    notes = (
        f"bound {max_drift:g} on the mean of each video, 95 % confidence; {rounds} drawn of each;"
        f" every frame looked at; the strategy alone costs {SHARE:g} of dense",
    )
    return Report("The bound, simulated", columns, rows, notes)


@dataclass(frozen=True)
class _Video:
    drift: float
    plain: float  # of the strategy at scale 1, unbounded
    cost: float
    audited: float


def _videos(
    kind: MadeStream, frames: int, stretches: int, rounds: int, seed: int, max_drift: float
) -> list[_Video]:
    dense = Circle(
        VisionTower(
            VisionConfig(layers=1, width=16, heads=1, mlp=16, patch=8, image_size=16, dimension=16)
        )
    )
    strategy, random = Drifting(dense), np.random.default_rng(seed)
    total = frames * stretches
    videos = [_pixels(kind, total, random) for _ in range(rounds)]
    chunks = [
        Chunk(part, last=True, part_of=PartOf(at, total))
        for at, video in enumerate(videos)
        for part in video.split(frames)
    ]
    bounded = Bounded(strategy, dense, max_drift=max_drift)
    done: dict[int, tuple[Encoded, int]] = {}
    for first in range(0, stretches, LANES):  # no video's stretches hear of another's
        turn = [at for at in range(len(chunks)) if first <= at % stretches < first + LANES]
        encoded = bounded.encode([chunks[at] for at in turn])
        audits = [each.audited for each in bounded.report]
        done.update(zip(turn, zip(encoded, audits, strict=True), strict=True))
    ours = [done[at][0] for at in range(len(chunks))]
    exact = dense.encode(chunks)
    found = []
    for at in range(0, len(chunks), stretches):
        span = slice(at, at + stretches)
        drift = torch.cat(
            [
                1 - (o.embeddings * e.embeddings).sum(1)
                for o, e in zip(ours[span], exact[span], strict=True)
            ]
        )
        plain = torch.cat([strategy.drift(chunk) for chunk in chunks[span]])
        found.append(
            _Video(
                float(drift.clamp(min=0).mean()),
                float(plain.mean()),
                float(torch.cat([each.macs for each in ours[span]]).mean()),
                sum(done[each][1] for each in range(at, at + stretches)) / total,
            )
        )
    return found


def _pixels(kind: MadeStream, frames: int, random: np.random.Generator) -> Tensor:
    """Frames of three numbers: the angle of the true vector, how far it is missed, and which way.

    How far leans right around the level. Frames that look alike are those that a strategy of scale
    1 gives the same vector.
    """
    run = np.arange(frames) // kind.alike
    drawn, way = random.exponential(1.0, frames), random.choice([-1, 1], frames)
    if kind.stale:
        drawn, way = drawn[run], way[run]
    drift = (drawn * kind.levels(frames)).clip(max=1.0)
    seen = random.uniform(0, 2 * np.pi, frames)[run]
    pixels = np.zeros((frames, 3, 1, 1), np.int32)
    pixels[:, 0, 0, 0] = (seen - way * np.arccos(1 - drift)) * UNIT
    pixels[:, 1, 0, 0] = drift * 1e4
    pixels[:, 2, 0, 0] = way
    return torch.from_numpy(pixels)


def _told(videos: Sequence[_Video], max_drift: float) -> list[Cell]:
    drift, plain, cost, audited = (
        np.array([getattr(each, name) for each in videos])
        for name in ("drift", "plain", "cost", "audited")
    )
    share = max(drift.mean(), 1e-9) / plain.mean()
    alone = min(1.0, SHARE * share ** (-CHEAPER / STEEP))
    kept = float((drift <= max_drift).mean())
    gain = float(alone / cost.mean())
    return [
        kept,
        float(drift.mean()),
        float(drift.max()),
        float(cost.mean()),
        float(audited.mean()),
        gain,
    ]
