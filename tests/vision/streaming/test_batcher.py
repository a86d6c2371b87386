"""Batching: every frame once and in order, lanes full, results independent of company."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.errors import UsageError
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.streaming.batcher import Batcher, StreamSource
from engine.vision.streaming.places import rounds
from engine.vision.streaming.refresh import Refresh
from engine.vision.streaming.schedule import PlannedStep, Schedule, since_full
from engine.vision.streaming.strategy import Chunk, Encoded, StreamState

TINY = VisionConfig(layers=3, width=32, heads=2, mlp=64, patch=8, image_size=16, dimension=8)


@dataclass
class Summed(StreamState):
    """A stream's sum so far, and for `Steps` what waits of it."""

    sums: Tensor = field(default_factory=lambda: torch.zeros(1))
    since: int | None = None
    waiting: int = 0


@dataclass
class Sums:
    """Embeds a frame as the sum of its stream up to it, so that a lost or doubled frame shows."""

    tower: VisionTower
    name: str = "sums"
    whole_streams: bool = False
    most: int = 0

    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        self.most = max(self.most, sum(len(chunk.pixels) for chunk in chunks))
        return [self._one(chunk) for chunk in chunks]

    def _one(self, chunk: Chunk) -> Encoded:
        before = chunk.state.sums if isinstance(chunk.state, Summed) else torch.zeros(1)
        values = chunk.pixels[:, 0, 0, 0].float()
        sums = before + values.cumsum(0)
        after = sums[-1:] if len(sums) else before
        seen = (chunk.state.num_frames if chunk.state else 0) + len(values)
        state = None if chunk.last else Summed(seen, chunk.pixels[:0], after)
        many = torch.zeros(len(values))
        return Encoded(sums[:, None], many[:, None].int(), many.double(), many.bool(), state)


@dataclass
class Steps(Sums):
    """Counts the places that a strategy's steps have, and those that a stream takes."""

    room: int = 64
    places: int = 0
    taken: int = 0

    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        results = super().encode(chunks)
        planned = [
            self._plan(chunk, each.state) for chunk, each in zip(chunks, results, strict=True)
        ]
        for part in rounds(planned, self.room):
            self.places += self.room
            self.taken += len(part.places)
        return results

    def _plan(self, chunk: Chunk, left: StreamState | None) -> list[PlannedStep]:
        since, waiting = None, len(chunk.pixels)
        if isinstance(chunk.state, Summed):
            since, waiting = chunk.state.since, chunk.state.waiting + waiting
        steps = Schedule().steps(since, waiting, last=chunk.last)
        if isinstance(left, Summed):
            left.since = since_full(since, steps)
            left.waiting = waiting - sum(step.size for step in steps)
        return steps


@pytest.fixture(scope="module")
def tower() -> VisionTower:
    torch.manual_seed(0)
    tower = VisionTower(TINY).eval().requires_grad_(False)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return tower


def blocks(values: Tensor, cut: int) -> Iterator[Chunk]:
    for part in values.split(cut):
        yield Chunk(part.view(-1, 1, 1, 1).expand(-1, 3, 2, 2))


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(0, 40), max_size=12),
    lanes=st.integers(1, 5),
    frames=st.integers(1, 9),
    cut=st.integers(1, 13),
    known=st.booleans(),
)
def test_every_frame_once_and_in_order(
    tower: VisionTower, lengths: list[int], lanes: int, frames: int, cut: int, known: bool
) -> None:
    clips = [torch.arange(length) % 7 + at % 3 for at, length in enumerate(lengths)]
    clips = [clip.to(torch.uint8) for clip in clips]
    strategy = Sums(tower)
    batcher = Batcher(strategy, lanes=lanes, frames=frames, lookahead=4)
    sources = (
        StreamSource(at, blocks(clip, cut) if len(clip) else (), len(clip) if known else None)
        for at, clip in enumerate(clips)
    )
    parts: dict[int, list[Tensor]] = {at: [] for at in range(len(clips))}
    ended = []
    for part in batcher.run(sources):
        assert part.key not in ended
        parts[part.key].append(part.encoded.embeddings[:, 0])
        if part.last:
            ended.append(part.key)
    assert sorted(ended) == list(range(len(clips)))
    assert strategy.most <= lanes * frames
    for at, clip in enumerate(clips):
        assert torch.equal(torch.cat(parts[at]), clip.float().cumsum(0))
    whole = Batcher(strategy, lanes=lanes, frames=frames).whole(
        StreamSource(at, blocks(clip, cut) if len(clip) else ()) for at, clip in enumerate(clips)
    )
    found = dict(each for turn in whole for each in turn)
    assert sorted(found) == list(range(len(clips)))
    for at, clip in enumerate(clips):
        assert torch.equal(found[at].embeddings[:, 0], clip.float().cumsum(0))
        assert found[at].full.shape == clip.shape


@pytest.mark.parametrize("lanes", [8, 64])
def test_lanes_stay_full_over_a_mixed_set(tower: VisionTower, lanes: int) -> None:
    random = Random(0)
    lengths = [random.choice((5, 30, 61, 120, 240, 241)) for _ in range(lanes * 12)]
    batcher = Batcher(Sums(tower), lanes=lanes, frames=32)
    clips = [torch.zeros(length, dtype=torch.uint8) for length in lengths]
    sources = (StreamSource(at, blocks(c, 16), len(c)) for at, c in enumerate(clips))
    assert sum(len(part.encoded.embeddings) for part in batcher.run(sources)) == sum(lengths)
    assert batcher.occupancy >= 0.95


@pytest.mark.parametrize("lanes", [8, 64])
def test_places_of_steps_stay_full_over_a_mixed_set(tower: VisionTower, lanes: int) -> None:
    random = Random(0)
    lengths = [random.choice((5, 30, 61, 120, 240, 241)) for _ in range(lanes * 12)]
    strategy = Steps(tower, room=lanes)
    clips = [torch.zeros(length, dtype=torch.uint8) for length in lengths]
    sources = (StreamSource(at, blocks(c, 16), len(c)) for at, c in enumerate(clips))
    list(Batcher(strategy, lanes=lanes, frames=64).run(sources))
    assert strategy.taken >= 0.95 * strategy.places


@pytest.mark.parametrize("sequential", [False, True])
def test_reuse_does_not_depend_on_lanes_or_company(tower: VisionTower, sequential: bool) -> None:
    gate = EarlyGate(tower, FixedLimits.uniform(TINY, 0.5), Refresh(cut=1.0), sequential=sequential)
    source = torch.Generator().manual_seed(0)
    clips = [
        torch.randint(256, (length, 3, 16, 16), dtype=torch.uint8, generator=source)
        for length in (9, 1, 22, 14, 6)
    ]
    alone = [gate.encode([Chunk(clip, last=True)])[0] for clip in clips]
    for lanes, frames in ((2, 8), (3, 5), (5, 64)):
        given: dict[int, list[Tensor]] = {at: [] for at in range(len(clips))}
        sources = (StreamSource(at, [Chunk(clip)]) for at, clip in enumerate(clips))
        for part in Batcher(gate, lanes=lanes, frames=frames).run(sources):
            given[part.key].append(part.encoded.embeddings)
        for at, expected in enumerate(alone):
            torch.testing.assert_close(torch.cat(given[at]), expected.embeddings)


def test_an_error_of_a_source_is_raised(tower: VisionTower) -> None:
    def broken() -> Iterator[Chunk]:
        yield Chunk(torch.zeros(4, 3, 2, 2, dtype=torch.uint8))
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(Batcher(Sums(tower), lanes=2, frames=2).run([StreamSource("a", broken())]))


def test_a_consumer_may_stop_early(tower: VisionTower) -> None:
    endless = (
        StreamSource(at, blocks(torch.zeros(50, dtype=torch.uint8), 5)) for at in range(10**6)
    )
    parts = Batcher(Sums(tower), lanes=2, frames=4, lookahead=3).run(endless)
    assert next(parts).key == 0
    parts.close()  # type: ignore[attr-defined]


def test_room_must_be_there(tower: VisionTower) -> None:
    with pytest.raises(UsageError, match="1 or more"):
        Batcher(Sums(tower), lanes=0)


def test_whole_streams_are_not_cut(tower: VisionTower) -> None:
    lengths = (3, 50, 1, 20, 7)
    clips = [
        torch.full((length, 3, 16, 16), at, dtype=torch.uint8) for at, length in enumerate(lengths)
    ]
    strategy = Sums(tower, whole_streams=True)
    batcher = Batcher(strategy, lanes=2, frames=8)
    turns = list(
        batcher.whole(
            StreamSource(at, [Chunk(clip[:2]), Chunk(clip[2:])], len(clip))
            for at, clip in enumerate(clips)
        )
    )
    assert [[key for key, _ in turn] for turn in turns] == [[1], [3], [4, 0, 2]]
    for key, encoded in (each for turn in turns for each in turn):
        [alone] = Sums(tower).encode([Chunk(clips[key], last=True)])
        assert torch.equal(encoded.embeddings, alone.embeddings)
