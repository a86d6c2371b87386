"""Rollout-guided pruning as graphs, against its steps in plain PyTorch."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from engine.errors import UsageError
from engine.vision.backbone.tower import VisionConfig
from engine.vision.backbone.windowed import WindowedConfig, WindowedTower
from engine.vision.registry import build_strategy
from engine.vision.rollout.fused import FusedRollout
from engine.vision.rollout.fused_windows import FusedWindows, roll_windows
from engine.vision.rollout.select import PatchShares
from engine.vision.rollout.stepper import RolloutPruning
from engine.vision.rollout.windows import WindowedRollout
from engine.vision.streaming.sequential import Sequential
from engine.vision.streaming.strategy import Chunk, StreamState
from tests.vision.fused.test_dense import BIG, TOLERANCE, distance, make_tower
from tests.vision.fused.test_lanes import make_streams

SMALL = VisionConfig(2, 16, 1, 32, 4, 12, 8)  # 10 tokens
SHARES = PatchShares(0.4, 1.0, 0.25)


def both(
    config: VisionConfig, room: int, refresh: int, **options: Any
) -> tuple[Sequential[Any], Sequential[Any]]:
    tower = make_tower(config)
    plain = RolloutPruning(tower, SHARES, **options)
    return (
        Sequential(FusedRollout(plain, room), "rgtp", refresh),
        Sequential(RolloutPruning(tower, SHARES, **options), "rgtp", refresh),
    )


@pytest.mark.parametrize(("reset", "refresh"), [("full", 2), ("1in2", 0)])
def test_small_tower_keeps_what_the_plain_path_does(reset: str, refresh: int) -> None:
    """Streams of other lengths, so that frames of several kinds come together, in two lanes."""
    fused, plain = both(SMALL, 2, refresh, every=3, reset=reset)
    chunks = [Chunk(each, last=True) for each in make_streams(SMALL, (4, 2))]
    for ours, theirs in zip(fused.encode(chunks), plain.encode(chunks), strict=True):
        assert distance(ours.embeddings, theirs.embeddings) <= 1e-5
        assert torch.equal(ours.computed, theirs.computed)
        assert torch.equal(ours.macs, theirs.macs)
        assert torch.equal(ours.full, theirs.full)


def test_a_stream_goes_on_from_what_it_left() -> None:
    fused, _ = both(SMALL, 1, 0, every=2, reset="1in2")
    [frames] = make_streams(SMALL, (3,))
    [whole] = fused.encode([Chunk(frames, last=True)])
    state: StreamState | None = None
    for at, frame in enumerate(frames):
        [part] = fused.encode([Chunk(frame[None], state)])
        assert distance(part.embeddings[0], whole.embeddings[at]) <= 1e-5
        state = part.state
    [dense] = fused.with_scale(0.0).encode([Chunk(frames[:2], last=True)])
    tower = fused.tower
    assert distance(dense.embeddings, tower(tower.normalise(frames[:2]))) <= 1e-5
    with pytest.raises(UsageError, match="expected at most 1 streams, got 2"):
        fused.stepper.begin(2)


@pytest.mark.gpu
@pytest.mark.parametrize("reset", ["full", "1in2"])
def test_a_tower_on_a_gpu_keeps_what_the_plain_path_does(reset: str) -> None:
    tower, streams = make_tower(BIG, device="cuda"), make_streams(BIG, (5, 4, 3), "cuda")
    options = {"keep": 0.4, "background": 0.25, "every": 3, "reset": reset}
    fused = build_strategy("rgtp", tower, options=options)
    assert isinstance(fused, Sequential)
    assert isinstance(fused.stepper, FusedRollout)
    plain = Sequential(fused.stepper.plain, "rgtp", fused.refresh)
    chunks = [Chunk(each, last=True) for each in streams]
    for ours, theirs in zip(fused.encode(chunks), plain.encode(chunks), strict=True):
        # patches as warm as others may be kept in their place
        assert distance(ours.embeddings, theirs.embeddings) <= 3 * TOLERANCE
        assert torch.equal(ours.computed, theirs.computed)
    [dense] = fused.with_scale(0.0).encode(chunks[:1])
    assert distance(dense.embeddings, tower(tower.normalise(streams[0]))) <= TOLERANCE


def windowed(*, relative: bool, **other: Any) -> WindowedTower:
    shape = WindowedConfig(
        layers=3, width=16, heads=1, mlp=32, patch=4, side=4, trained=3, window=3,
        windowed=frozenset({1}), relative=relative, pre_norm=not relative,
    )  # fmt: skip
    made = WindowedTower(replace(shape, **other))
    generator = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return made.requires_grad_(False).eval()


@pytest.mark.parametrize("relative", [True, False])
def test_a_detectors_tower_gives_what_the_plain_path_does(relative: bool) -> None:
    """Windows that reach beyond the picture; two guided frames follow a full one."""
    made = windowed(relative=relative)
    frames = torch.randn(3, 1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    plain, fused = (kind(made, 0.4, 3) for kind in (WindowedRollout, FusedWindows))
    for frame in frames:
        exact = plain.step(frame)
        assert distance(fused.step(frame), exact) <= 1e-5
        anchors = torch.rand(1, 16, generator=torch.Generator().manual_seed(2)) < 0.3
        plain.look(anchors)
        fused.look(anchors)


@pytest.mark.gpu
def test_a_real_detectors_tower_on_a_gpu() -> None:
    """Against the plain path in float32, which keeps the same tokens but for near ties."""
    wide = {"width": 768, "heads": 12, "mlp": 3072, "patch": 16, "side": 42, "trained": 14}
    made = windowed(relative=True, window=14, windowed=frozenset({0, 1}), **wide).cuda()
    for module in made.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    half = WindowedTower(made.config).cuda().bfloat16().requires_grad_(False)
    half.load_state_dict(made.state_dict())
    fused = roll_windows(half, 1.0, 4)
    assert isinstance(fused, FusedWindows)
    for _ in range(3):  # all are kept, so that only rounding differs
        frame = torch.randn(2, 3, 672, 672, device="cuda")
        exact = made(frame)
        rough = half(frame.bfloat16())
        assert distance(fused.step(frame.bfloat16()), exact) <= 1.5 * distance(rough, exact) + 0.01
