"""Frames that lie on a line between their sides, and groups that are encoded in parts."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.errors import UsageError
from engine.vision.backbone.tower import VisionTower
from engine.vision.bounded.bound import Bounded
from engine.vision.earlygate.bridge import Bridge, novelty
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.streaming.dense import Dense
from engine.vision.streaming.refresh import Refresh
from engine.vision.streaming.strategy import Chunk, Encoded, StreamState

ALWAYS = Bridge(limit=2.0, novelty=9.0)


def make_clip(frames: int, seed: int = 0) -> Tensor:
    """Frames that mix two pictures more and more, with a patch that comes and goes."""
    source = torch.Generator().manual_seed(seed)
    first, second = torch.randint(0, 256, (2, 3, 32, 32), generator=source).float()
    shares = torch.rand(frames, generator=source).cumsum(0) / frames
    clip = torch.stack([first + (second - first) * float(share) for share in shares])
    clip[frames // 2 : frames // 2 + 2, :, :8, :8] = 255.0
    return clip.round().to(torch.uint8)


def make_gate(tower: VisionTower, threshold: float, bridge: Bridge) -> EarlyGate:
    limits = FixedLimits.uniform(tower.config, threshold)
    return EarlyGate(tower, limits, Refresh(cut=1.0), bridge=bridge)


def run(gate: EarlyGate | Dense, *clips: Tensor) -> list[Encoded]:
    return gate.encode([Chunk(clip, last=True) for clip in clips])


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.2, 0.5])
def test_parts_of_a_group_equal_the_whole(
    small: Any, monkeypatch: pytest.MonkeyPatch, class_token: bool, threshold: float
) -> None:
    tower = small.tower(small.config(class_token=class_token))
    clips = [make_clip(frames, frames) for frames in (13, 4, 8, 1, 7)]
    whole = run(make_gate(tower, threshold, Bridge()), *clips)
    monkeypatch.setattr(Bridge, "spans", lambda _, left, *_rest: torch.zeros(len(left)).bool())
    parts = run(make_gate(tower, threshold, ALWAYS), *clips)
    for one, other in zip(whole, parts, strict=True):
        assert one.computed.tolist() == other.computed.tolist()
        assert torch.equal(one.macs, other.macs)
        torch.testing.assert_close(one.embeddings, other.embeddings, rtol=1e-4, atol=1e-5)


def test_frames_between_agreeing_sides_lie_on_their_line(small: Any) -> None:
    tower, clip = small.tower(), make_clip(9)
    [dense] = run(Dense(tower), clip)
    exact = dense.embeddings
    apart = {
        (a, b): float(1 - F.cosine_similarity(exact[a], exact[b], dim=0))
        for a, b in ((0, 4), (4, 8))
    }
    quiet, loud = sorted(apart, key=lambda sides: apart[sides])
    bridge = Bridge(limit=(apart[quiet] + apart[loud]) / 2, novelty=9.0)
    [encoded] = run(make_gate(tower, -1.0, bridge), clip)
    a, b = quiet
    for way, at in enumerate(range(a + 1, b), 1):
        line = exact[a] + (exact[b] - exact[a]) * way / 4
        torch.testing.assert_close(encoded.embeddings[at], line, rtol=1e-4, atol=1e-4)
        assert encoded.computed[at].sum() == 0
        assert encoded.macs[at] < dense.macs[0] / 100
        assert not encoded.full[at]
    middle = sum(loud) // 2
    assert encoded.computed[middle].min() > 0
    torch.testing.assert_close(encoded.embeddings[middle], exact[middle], rtol=1e-4, atol=1e-4)


def test_news_between_agreeing_sides_are_encoded(small: Any) -> None:
    tower = small.tower()
    clip = make_clip(1).expand(5, -1, -1, -1) // 2
    clip[1, :, 8:16, 8:16] = 255
    [encoded] = run(make_gate(tower, 0.01, Bridge(limit=0.01)), clip)
    assert (encoded.computed[:, 0] > 0).tolist() == [True, True, False, False, True]
    assert encoded.computed[1, 1] > 1
    [blind] = run(make_gate(tower, 0.01, Bridge(limit=0.01, novelty=1.0)), clip)
    assert (blind.computed[:, 0] > 0).tolist() == [True, False, False, False, True]
    # a camera that pans shows no news: the sides differ by as much
    ramp = torch.linspace(0, 1, 5).view(5, 1, 1, 1).expand(-1, 3, 4, 4)
    assert float(novelty(ramp[1:2], ramp[:1], ramp[4:])) < 0


def test_under_a_bound_sides_that_show_other_things_are_not_bridged(small: Any) -> None:
    tower = small.tower()
    clip = (make_clip(1).expand(5, -1, -1, -1) // 2).contiguous()
    clip[0, :, 8:16, 8:16], clip[4, :, 16:24, 16:24] = 255, 255  # shown nowhere between
    gate = make_gate(tower, 0.01, Bridge(limit=2.0))
    [loose], [steady] = run(gate, clip), run(gate.steadied(), clip)
    assert (loose.computed[:, 0] > 0).tolist() == [True, False, False, False, True]
    assert int(steady.computed[2, 0]) > 0
    [still] = run(gate.steadied(), clip[1:4].repeat(3, 1, 1, 1)[:5])
    assert (still.computed[:, 0] > 0).tolist() == [True, False, False, False, True]
    assert Bounded(gate, Dense(tower)).strategy == gate.steadied()
    assert gate.steadied().with_scale(2.0).bridge.change == gate.steadied().bridge.change < 1


@pytest.mark.parametrize("cuts", [[5, 6, 7], [1, 1, 0, 16], [0, 17, 1], [3, 3, 3, 3, 3, 3]])
def test_chunks_and_company_change_nothing(small: Any, cuts: list[int]) -> None:
    tower, clips = small.tower(), [make_clip(18, seed) for seed in range(3)]
    gate = make_gate(tower, 0.2, Bridge(limit=0.02, novelty=0.2))
    alone = run(gate, clips[0])[0]
    states: list[StreamState | None] = [None, None, None]
    parts: list[Encoded] = []
    for start, stop in pairwise([0, *torch.tensor(cuts).cumsum(0).tolist()]):
        encoded = gate.encode(
            [
                Chunk(clip[start:stop], state, last=stop == 18)
                for clip, state in zip(clips, states, strict=True)
            ]
        )
        states = [each.state for each in encoded]
        parts.append(encoded[0])
    joined = torch.cat([part.embeddings for part in parts])
    torch.testing.assert_close(joined, alone.embeddings, rtol=1e-3, atol=1e-4)
    assert torch.cat([part.computed for part in parts]).tolist() == alone.computed.tolist()
    bridged = alone.computed[:, 0] == 0
    assert 0 < int(bridged.sum()) < 14


def test_scale_and_settings(small: Any) -> None:
    tower, clip = small.tower(), make_clip(17)
    gate = make_gate(tower, 0.2, Bridge(limit=0.02, novelty=0.5))
    scaled = [run(gate.with_scale(scale), clip)[0] for scale in (0.0, 0.5, 1.0, 2.0, 20.0)]
    left = [int((encoded.computed[:, 0] > 0).sum()) for encoded in scaled]
    assert left == sorted(left, reverse=True)
    assert left[0] == 17
    assert left[-1] == 5
    [sequential] = run(EarlyGate(tower, gate.limits, sequential=True, bridge=ALWAYS), clip)
    assert (sequential.computed > 0).all()
    with pytest.raises(UsageError, match="bridge must be"):
        Bridge(limit=3.0)
