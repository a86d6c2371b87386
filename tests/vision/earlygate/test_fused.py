"""The fused early gate against the plain one: same decisions, same vectors, no host syncs."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.errors import UsageError
from engine.vision.backbone.precision import quantise
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.earlygate.fused import FusedGate
from engine.vision.earlygate.learned import LearnedLimits
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.memory import fitting_streams
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.fused.layers import patch_columns
from engine.vision.streaming.refresh import Refresh
from engine.vision.streaming.stepper import Batch
from engine.vision.streaming.strategy import Chunk, Encoded, StreamState

TINY = VisionConfig(layers=4, width=32, heads=2, mlp=64, patch=8, image_size=32, dimension=16)
PLAIN = replace(TINY, pre_norm=False, patch_bias=True, projection=False, dimension=32, patch=4)
# on a GPU the real kernels run on shapes near real towers'
LARGE = VisionConfig(
    layers=5, width=384, heads=6, mlp=1536, patch=14, image_size=224, dimension=256
)
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
# where there is a GPU all of this belongs to its suite
pytestmark = [pytest.mark.gpu] if DEVICE == "cuda" else []
DTYPE = torch.bfloat16 if CUDA else torch.float32


@pytest.fixture(autouse=True)
def references_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole forward in the interpreter would take minutes; kernels have their own tests."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


def make_tower(config: VisionConfig) -> VisionTower:
    torch.manual_seed(0)
    tower = VisionTower(config).eval().requires_grad_(False)
    for name, parameter in tower.named_parameters():
        if "norm" not in name and not name.startswith(("pre.", "post.")):
            torch.nn.init.normal_(parameter, std=0.2 if config.width < 64 else 0.03)
    return tower.to(DEVICE, DTYPE)


def make_clip(config: VisionConfig, frames: int, seed: int, noise: float = 0.5) -> Tensor:
    """Frames of which a patch-shaped share changes each time, more and less strongly."""
    source = torch.Generator().manual_seed(seed)
    size, patch = config.image_size, config.patch
    frame = torch.randint(0, 256, (3, size, size), generator=source).float()
    clip = []
    for _ in range(frames):
        strength = torch.rand(1, config.side, config.side, generator=source) ** 3 * noise
        strength = strength.repeat_interleave(patch, 1).repeat_interleave(patch, 2)
        fresh = torch.randint(0, 256, (3, size, size), generator=source)
        frame = frame * (1 - strength) + fresh * strength
        clip.append(frame.round().to(torch.uint8))
    return torch.stack(clip)


def learned(config: VisionConfig, base: FixedLimits) -> LearnedLimits:
    torch.manual_seed(1)
    gates, width = config.layers - 1, config.width
    tensors = {
        "projection": torch.randn(gates, 16, width) / width**0.5,
        "weight": torch.randn(gates, width) / width,
        "bias": torch.randn(gates, 4) * 0.1,
    }
    return LearnedLimits.of_tensors(base, {n: t.to(DEVICE, DTYPE) for n, t in tensors.items()})


def pair(config: VisionConfig, kind: str, threshold: float, streams: int = 3) -> list[EarlyGate]:
    """The plain gate and the fused one."""
    tower, base = make_tower(config), FixedLimits.uniform(config, threshold)
    limits = learned(config, base) if kind == "learned" else base
    plain = EarlyGate(tower, limits, Refresh(cut=1.0))
    return [plain, replace(plain, fused=FusedGate(tower, limits, streams))]


def same(given: Encoded, expected: Encoded) -> None:
    """On a CPU exactly the same decisions; in bfloat16 a few fall to the other side."""
    assert torch.equal(given.full, expected.full)
    a, b = given.embeddings.float(), expected.embeddings.float()
    if CUDA:
        drift = 1 - torch.cosine_similarity(a, b)
        assert drift.max() < 2e-3
        share = given.computed.double().mean() / expected.computed.double().mean()
        assert 0.97 < share < 1.03
    else:
        assert torch.equal(given.computed, expected.computed)
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(given.macs, expected.macs)


CONFIGS = [LARGE] if CUDA else [TINY, PLAIN]
IDS = ["large"] if CUDA else ["clip", "plain"]


def test_eight_bits_are_those_of_the_plain_gate() -> None:
    tower = quantise(make_tower(CONFIGS[0]))
    plain = EarlyGate(tower, FixedLimits.uniform(CONFIGS[0], 0.3), Refresh(cut=1.0))
    fused = replace(plain, fused=FusedGate(tower, plain.limits, 2))
    chunks = [
        Chunk(make_clip(CONFIGS[0], frames, seed), last=True) for seed, frames in ((0, 9), (1, 5))
    ]
    for given, expected in zip(fused.encode(chunks), plain.encode(chunks), strict=True):
        drift = 1 - torch.cosine_similarity(given.embeddings.float(), expected.embeddings.float())
        assert drift.max() < 1e-2
        share = given.computed.double().mean() / expected.computed.double().mean()
        assert 0.9 < share < 1.1


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
@pytest.mark.parametrize("kind", ["fixed", "learned"])
@pytest.mark.parametrize("threshold", [-1.0, 0.15, 0.4])
def test_equals_the_plain_gate(config: VisionConfig, kind: str, threshold: float) -> None:
    plain, fused = pair(config, kind, threshold)
    clips = [make_clip(config, frames, seed) for seed, frames in enumerate((11, 1, 7, 4, 5))]
    chunks = [Chunk(clip, last=True) for clip in clips]
    for given, expected in zip(fused.encode(chunks), plain.encode(chunks), strict=True):
        same(given, expected)
        if threshold < 0:
            assert (given.computed == config.tokens).all()


@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_layers_without_a_gate_compare_nothing(scale: float) -> None:
    config = CONFIGS[0]
    tower = make_tower(config)
    limits = FixedLimits((0.3, *(-1.0 for _ in range(config.layers - 2)))).scaled(scale)
    plain = EarlyGate(tower, limits, Refresh(cut=1.0))
    fused = replace(plain, fused=FusedGate(tower, limits, 2))
    clips = [make_clip(config, frames, seed) for seed, frames in enumerate((9, 6))]
    first = [gate.encode([Chunk(clip[:5]) for clip in clips]) for gate in (fused, plain)]
    # states of either resume in the other
    second = [
        gate.encode([Chunk(clip[5:], each.state, last=True) for clip, each in rest])
        for gate, rest in zip(
            (plain, fused), (zip(clips, each, strict=True) for each in first), strict=True
        )
    ]
    for ours, theirs in zip(first[0] + second[1], first[1] + second[0], strict=True):
        same(ours, theirs)
        later = ours.computed[:, 1:]
        assert (later == later[:, :1]).all()


@pytest.mark.slow
@pytest.mark.skipif(CUDA, reason="there is a GPU, on which the kernels run")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of rows computed with and dropped
def test_a_whole_forward_through_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    plain, fused = pair(replace(TINY, layers=3, image_size=16), "fixed", 0.3, streams=2)
    chunks = [Chunk(make_clip(plain.tower.config, n, n), last=True) for n in (6, 5)]
    for given, expected in zip(fused.encode(chunks), plain.encode(chunks), strict=True):
        same(given, expected)


@pytest.mark.parametrize("kind", ["fixed", "learned"])
def test_state_resumes_in_either(kind: str) -> None:
    config = CONFIGS[0]
    plain, fused = pair(config, kind, 0.3)
    clip = make_clip(config, 14, 5)
    [whole] = plain.encode([Chunk(clip, last=True)])
    state: StreamState | None = None
    parts = []
    for turn, (start, stop) in enumerate(pairwise((0, 6, 7, 14))):
        gate = fused if turn % 2 == 0 else plain
        [encoded] = gate.encode([Chunk(clip[start:stop], state, last=stop == 14)])
        state = encoded.state
        parts.append(encoded.embeddings)
    joined = torch.cat(parts).float()
    if CUDA:
        assert (1 - torch.cosine_similarity(joined, whole.embeddings.float())).max() < 2e-3
    else:
        torch.testing.assert_close(joined, whole.embeddings, rtol=1e-4, atol=1e-5)


def test_company_changes_nothing() -> None:
    config = CONFIGS[0]
    _, fused = pair(config, "fixed", 0.3)
    clips = [make_clip(config, frames, seed) for seed, frames in enumerate((9, 6, 13))]
    together = fused.encode([Chunk(clip, last=True) for clip in clips])
    for clip, expected in zip(clips, together, strict=True):
        [alone] = fused.encode([Chunk(clip, last=True)])
        assert torch.equal(alone.computed, expected.computed)
        # a promise of our own products; on a CPU a library's may sum a row by its place
        close = 0.0 if CUDA else 1e-5
        torch.testing.assert_close(alone.embeddings, expected.embeddings, rtol=close, atol=close)


def test_scaled_limits_reach_the_graph() -> None:
    config = CONFIGS[0]
    _, fused = pair(config, "fixed", 0.2)
    clip = make_clip(config, 9, 3)
    rows = [
        int(fused.with_scale(scale).encode([Chunk(clip, last=True)])[0].computed.sum())
        for scale in (0.0, 1.0, 3.0)
    ]
    assert rows == sorted(rows, reverse=True)
    assert rows[0] > rows[2]


def test_a_tower_without_class_token_is_refused() -> None:
    tower = make_tower(replace(TINY, class_token=False))
    with pytest.raises(UsageError, match="class token"):
        FusedGate(tower, FixedLimits.uniform(tower.config, 0.1), 1)


def test_room_is_made_for_what_fits() -> None:
    tower = make_tower(TINY)
    memory = FusedGate(tower, FixedLimits.uniform(TINY, 0.1), 16).memory
    held = [memory.h, memory.mixed, memory.roots, memory.table, memory.work.after]
    held += [memory.work.normed, memory.work.wide]
    halves = 2 * sum(value.numel() for value in held)
    halves += 2 * 64 * TINY.tokens * (TINY.width + patch_columns(TINY))  # of the embedding
    assert fitting_streams(TINY, TINY.width, 3 * halves) == 16
    assert fitting_streams(TINY, TINY.width, int(1.8 * halves)) < 16
    assert fitting_streams(TINY, TINY.width, 10**15) == 64
    assert fitting_streams(TINY, TINY.width, 0) == 1


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_a_step_waits_for_nothing() -> None:
    config = LARGE
    _, gate = pair(config, "fixed", 0.3)
    fused = gate.fused
    assert fused is not None
    fused.begin(2)
    pixels = make_clip(config, 2, 0).pin_memory()
    group = make_clip(config, 8, 1).pin_memory()
    slots, places = np.divmod(np.arange(8), 2)
    gated = np.zeros(8, bool)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        fused.step(Batch(slots[:2], places[:2], ~gated[:2], pixels))
        stepped = fused.step(Batch(slots, places, gated, group))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert stepped.embeddings.isfinite().all()
