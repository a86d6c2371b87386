"""The early gate against dense, against an unpacked simulation, and its invariants."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.vision.backbone.macs import (
    attend_macs,
    embed_macs,
    finish_macs,
    head_macs,
    project_macs,
)
from engine.vision.backbone.plain import load_plain
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.earlygate.stream import GateState
from engine.vision.streaming.dense import Dense
from engine.vision.streaming.refresh import Refresh
from engine.vision.streaming.schedule import ORDER, Schedule
from engine.vision.streaming.strategy import Chunk, Encoded, StreamState, reuse_rate
from kernels.select import REFERENCES

CLIP = VisionConfig(layers=4, width=32, heads=2, mlp=64, patch=8, image_size=32, dimension=16)
PLAIN = replace(CLIP, pre_norm=False, patch_bias=True, projection=False, dimension=32)
SIGLIP = replace(PLAIN, class_token=False, activation="gelu_tanh")
NEVER_CUT = Refresh(cut=1.0)


def make_tower(config: VisionConfig, seed: int = 0) -> VisionTower:
    torch.manual_seed(seed)
    tower = VisionTower(config).eval().requires_grad_(False)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return tower


def make_clip(frames: int, seed: int = 0, noise: float = 0.5) -> Tensor:
    """Frames of which a patch-shaped share changes each time, more and less strongly."""
    source = torch.Generator().manual_seed(seed)
    frame = torch.randint(0, 256, (3, 32, 32), generator=source).float()
    clip = []
    for _ in range(frames):
        strength = torch.rand(1, 4, 4, generator=source) ** 3 * noise
        strength = strength.repeat_interleave(8, 1).repeat_interleave(8, 2)
        fresh = torch.randint(0, 256, (3, 32, 32), generator=source)
        frame = frame * (1 - strength) + fresh * strength
        clip.append(frame.round().to(torch.uint8))
    return torch.stack(clip) if clip else torch.empty(0, 3, 32, 32, dtype=torch.uint8)


def make_gate(tower: VisionTower, threshold: float, **options: object) -> EarlyGate:
    options = {"refresh": NEVER_CUT, **options}
    return EarlyGate(tower, FixedLimits.uniform(tower.config, threshold), **options)  # type: ignore[arg-type]


def run(gate: EarlyGate | Dense, *clips: Tensor) -> list[Encoded]:
    return gate.encode([Chunk(clip, last=True) for clip in clips])


@pytest.mark.parametrize("config", [CLIP, PLAIN, SIGLIP], ids=["clip", "plain", "siglip"])
def test_nothing_reused_equals_dense(config: VisionConfig) -> None:
    tower, clip = make_tower(config), make_clip(11)
    [gated], [dense] = run(make_gate(tower, -1.0), clip), run(Dense(tower), clip)
    torch.testing.assert_close(gated.embeddings, dense.embeddings, rtol=1e-4, atol=1e-5)
    assert (gated.computed == config.tokens).all()
    assert reuse_rate(gated, tower).sum() == 0


@pytest.mark.parametrize("config", [CLIP, PLAIN, SIGLIP], ids=["clip", "plain", "siglip"])
@pytest.mark.parametrize("sequential", [False, True])
def test_still_video_reuses_every_patch_and_equals_its_first_frame(
    config: VisionConfig, sequential: bool
) -> None:
    tower, clip = make_tower(config), make_clip(1).expand(10, -1, -1, -1)
    [gated] = run(make_gate(tower, 1e-3, sequential=sequential), clip)
    assert gated.full.tolist() == [True] + [False] * 9
    assert (gated.computed[1:, 1:] == int(config.class_token)).all()
    first = gated.embeddings[:1].expand_as(gated.embeddings)
    torch.testing.assert_close(gated.embeddings, first, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", [CLIP, SIGLIP], ids=["clip", "siglip"])
@pytest.mark.parametrize(
    "thresholds",
    [(0.0,) * 3, (0.05,) * 3, (0.2,) * 3, (0.5,) * 3, (9.0,) * 3, (0.2, -1, -1), (-1, 0.3, -1)],
)
def test_packed_equals_unpacked_simulation(
    config: VisionConfig, thresholds: tuple[float, ...]
) -> None:
    tower, clip = make_tower(config), make_clip(12, seed=int(sum(thresholds) * 100) + 300)
    gate = EarlyGate(tower, FixedLimits(thresholds), NEVER_CUT)
    [gated] = run(gate, clip)
    embeddings, computed = simulate(tower, clip, thresholds)
    assert gated.computed.tolist() == computed.tolist()
    torch.testing.assert_close(gated.embeddings, embeddings, rtol=1e-3, atol=1e-4)


def test_rates_rise_with_the_scale_and_class_token_is_always_computed() -> None:
    tower, clip = make_tower(CLIP), make_clip(21)
    gate = make_gate(tower, 0.1)
    scaled = [run(gate.with_scale(scale), clip)[0] for scale in (0.0, 0.3, 1.0, 2.0, 5.0, 50.0)]
    rates = [float(reuse_rate(encoded, tower).mean()) for encoded in scaled]
    assert rates == sorted(rates)
    assert rates[0] < 0.1
    assert rates[-1] > 0.8
    assert all((encoded.computed >= 1).all() for encoded in scaled)


@pytest.mark.parametrize("config", [CLIP, SIGLIP], ids=["clip", "siglip"])
@pytest.mark.parametrize("cuts", [[5, 6, 7], [1, 1, 0, 16], [17, 0, 1]])
def test_chunks_and_company_change_nothing(config: VisionConfig, cuts: list[int]) -> None:
    tower, clips = make_tower(config), [make_clip(18, seed) for seed in range(3)]
    gate = make_gate(tower, 0.2, schedule=Schedule(refresh=7))
    alone = run(gate, clips[0])[0]
    states: list[StreamState | None] = [None, None, None]
    parts: list[list[Encoded]] = [[], [], []]
    bounds = [0, *torch.tensor(cuts).cumsum(0).tolist()]
    for start, stop in pairwise(bounds):
        chunks = [
            Chunk(clip[start:stop], state, last=stop == 18)
            for clip, state in zip(clips, states, strict=True)
        ]
        for at, encoded in enumerate(gate.encode(chunks)):
            states[at] = encoded.state
            parts[at].append(encoded)
    joined = torch.cat([part.embeddings for part in parts[0]])
    torch.testing.assert_close(joined, alone.embeddings, rtol=1e-3, atol=1e-4)
    assert torch.cat([part.computed for part in parts[0]]).tolist() == alone.computed.tolist()
    assert alone.full.nonzero().flatten().tolist() == [0, 8, 16]


def test_streams_of_different_length_run_together() -> None:
    tower = make_tower(CLIP)
    gate, clips = make_gate(tower, 0.2), [make_clip(n, n) for n in (1, 9, 3, 0, 6)]
    for clip, together in zip(clips, run(gate, *clips), strict=True):
        [alone] = run(gate, clip)
        assert together.embeddings.shape == (len(clip), 16)
        assert together.computed.tolist() == alone.computed.tolist()
        torch.testing.assert_close(together.embeddings, alone.embeddings, rtol=1e-3, atol=1e-4)


def test_saved_state_resumes_identically() -> None:
    tower, clip = make_tower(CLIP), make_clip(19)
    gate = make_gate(tower, 0.2, refresh=Refresh(cut=0.3, budget=0.9))
    [first] = gate.encode([Chunk(clip[:11])])
    state = first.state
    assert state is not None
    saved = deepcopy(state)
    [once] = gate.encode([Chunk(clip[11:], state, last=True)])
    [again] = gate.encode([Chunk(clip[11:], saved, last=True)])
    assert torch.equal(once.embeddings, again.embeddings)
    assert torch.equal(once.computed, again.computed)
    assert len(first.embeddings) + len(once.embeddings) == 19


def test_what_was_looked_at_ahead_changes_nothing() -> None:
    gate = make_gate(make_tower(CLIP), 0.2, refresh=Refresh(cut=0.1))
    clips = [make_clip(11, seed) // 4 for seed in range(3)]
    for clip in clips:
        clip[7:] = 255 - clip[7:]
    alone = gate.encode([Chunk(clip, last=True) for clip in clips])
    looked = [gate.look(clip) if at != 1 else None for at, clip in enumerate(clips)]
    ahead = gate.encode(
        [Chunk(clip, last=True, looked=seen) for clip, seen in zip(clips, looked, strict=True)]
    )
    for given, expected in zip(ahead, alone, strict=True):
        assert torch.equal(given.embeddings, expected.embeddings)
        assert torch.equal(given.full, expected.full)
        assert given.full[7]
    # cuts are seen in what is given, not in the pixels
    [blind] = gate.encode([Chunk(clips[0], last=True, looked=torch.zeros_like(looked[0]))])  # type: ignore[arg-type]
    assert blind.full.sum() == 1


def test_multiply_accumulates_equal_the_formula() -> None:
    tower, clip = make_tower(CLIP), make_clip(9)
    gate = make_gate(tower, 0.2)
    [encoded] = run(gate, clip)
    d, n = CLIP.width, CLIP.tokens
    per_token = project_macs(CLIP, 1) + attend_macs(CLIP, 1) + finish_macs(CLIP, 1)
    fixed = embed_macs(CLIP) + n * per_token + head_macs(CLIP)
    tail = d * d + attend_macs(CLIP, 1) + finish_macs(CLIP, 1)
    full = fixed + 2 * n * per_token + n * 2 * d * d + tail
    assert float(encoded.macs[0]) == full
    slots = {4: 1, 2: 2, 1: 2, 3: 2}  # candidates of the group's frames, by their place
    for at in range(1, 9):
        rows = encoded.computed[at].tolist()
        compared = sum(row - 1 for row in rows[:-1]) * slots[(at - 1) % 4 + 1]
        work = sum(rows[1:-1]) * per_token + rows[-1] * 2 * d * d + tail
        assert float(encoded.macs[at]) == fixed + work + compared * d


def test_cuts_and_added_up_change_are_full_frames() -> None:
    tower = make_tower(CLIP)
    still = make_clip(1).expand(6, -1, -1, -1) // 4
    cut = torch.cat([still, 255 - still])
    [encoded] = run(make_gate(tower, 0.2, refresh=Refresh(cut=0.05)), cut)
    assert encoded.full.nonzero().flatten().tolist() == [0, 6]
    drifting = make_clip(30, noise=0.3)
    [never] = run(make_gate(tower, 0.2), drifting)
    [often] = run(make_gate(tower, 0.2, refresh=Refresh(cut=1.0, budget=0.02)), drifting)
    assert int(never.full.sum()) == 1
    assert 2 < int(often.full.sum()) < 28


@pytest.mark.real
def test_plain_weights_drift_little_on_natural_pictures(real_data: Path) -> None:
    tower = load_plain(real_data / "weights" / "deit_tiny.npz")
    torch.manual_seed(0)
    still = F.interpolate(torch.rand(1, 3, 14, 14), size=224, mode="bicubic").clamp(0, 1)
    clip = (still * 255).to(torch.uint8).repeat(6, 1, 1, 1)
    clip[3:, :, 64:96, 64:96] = 255
    [gated], [dense] = run(make_gate(tower, 0.2), clip), run(Dense(tower), clip)
    cosine = F.cosine_similarity(gated.embeddings, dense.embeddings)
    assert cosine.min() > 0.95
    assert float(reuse_rate(gated, tower)[1:].mean()) > 0.5


def test_a_layer_without_a_gate_keeps_the_rows_and_stores_no_roots() -> None:
    tower, clip = make_tower(CLIP), make_clip(9)
    gate = EarlyGate(tower, FixedLimits.single(CLIP, 0.2), NEVER_CUT)
    [encoded] = gate.encode([Chunk(clip)])
    assert encoded.state is not None
    assert isinstance(encoded.state, GateState)
    assert encoded.state.memory is not None
    assert encoded.state.memory.compared.shape == (1, CLIP.tokens, CLIP.width)
    assert encoded.state.memory.keys_values.shape == (3, CLIP.tokens, 2 * CLIP.width)
    assert (encoded.computed[:, 1:2] == encoded.computed[:, 1:]).all()
    assert gate.with_scale(0.0).limits.gates == (1,)
    assert 0.1 < float(reuse_rate(encoded, tower).mean()) < 0.9


def simulate(
    tower: VisionTower, clip: Tensor, thresholds: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Every token of every frame in full, replaced by its root's where the gate says so."""
    embeddings: dict[int, Tensor] = {}
    counts: dict[int, list[int]] = {}
    cache: Record | None = None
    at = 0
    while at < len(clip):
        size = 1 if cache is None else min(4, len(clip) - at)
        slots: list[Record] = []
        for slot in range(size):
            allowed = () if cache is None else REFERENCES[slot]
            references = [cache if r < 0 else slots[r] for r in allowed]
            number = at + ORDER[size][slot]
            record = Record(tower, clip[number], [r for r in references if r], thresholds)
            embeddings[number], counts[number] = record.embedding, record.counts
            slots.append(record)
        cache, at = slots[0], at + size
    order = range(len(clip))
    return torch.stack([embeddings[n] for n in order]), torch.tensor([counts[n] for n in order])


class Record:
    """One frame encoded with all its tokens, layer after layer."""

    def __init__(
        self,
        tower: VisionTower,
        pixels: Tensor,
        references: Sequence["Record"],
        thresholds: Sequence[float],
    ) -> None:
        config = tower.config
        h = tower.layer(0)(tower.embed(tower.normalise(pixels[None])))[0]
        self.roots, self.keys, self.values = [h], [h], [h]
        self.counts = [config.tokens]
        follows = torch.full((config.tokens,), -1)
        for index in range(1, config.layers):
            layer, root = tower.layer(index), h.clone()
            q, k, v = layer.project(h).split(config.width, dim=1)
            free = follows < 0
            best = torch.full((config.tokens,), float(thresholds[index - 1]))
            for at, reference in enumerate(references):
                distance = (h - reference.roots[index]).norm(dim=1) / h.norm(dim=1)
                if config.class_token:
                    distance[0] = 99.0
                nearer = free & ((distance < best) | ((follows < 0) & (distance <= best)))
                follows[nearer], best[nearer] = at, distance[nearer]
            for at, reference in enumerate(references):
                taken = (follows == at)[:, None]
                root = torch.where(taken, reference.roots[index], root)
                k = torch.where(taken, reference.keys[index], k)
                v = torch.where(taken, reference.values[index], v)
            self.counts.append(int((follows < 0).sum()))
            self.roots.append(root)
            self.keys.append(k)
            self.values.append(v)
            mixed = layer.attend(torch.cat([q, k, v], 1)[None])[0]
            out = layer.finish(h, mixed)
            if index == config.layers - 1:
                self.last = out.clone()
                for at, reference in enumerate(references):
                    self.last = torch.where((follows == at)[:, None], reference.last, self.last)
            h = out
        self.embedding = tower.finish(self.last[None])[0]
