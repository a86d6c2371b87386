"""Streams, states, cues and costs of the reusevit strategy."""

from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from engine.errors import UsageError
from engine.vision.backbone.macs import dense_macs
from engine.vision.backbone.tower import VisionConfig
from engine.vision.registry import build_strategy
from engine.vision.reusevit.codec import codec_macs
from engine.vision.reusevit.file import Card, save_modules
from engine.vision.reusevit.macs import decision_macs, frame_macs
from engine.vision.reusevit.modules import ReuseConfig
from engine.vision.reusevit.strategy import ReuseState, ReuseViT
from engine.vision.streaming.refresh import Refresh
from engine.vision.streaming.schedule import Schedule
from engine.vision.streaming.strategy import Chunk, Encoded, StreamState, reuse_rate

CUES = ("none", "pixels", "codec")


def feed(
    strategy: ReuseViT, frames: Tensor, cuts: list[int], cues: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Encode one stream in pieces; return embeddings and computed tokens."""
    state: StreamState | None = None
    results: list[Encoded] = []
    bounds = [0, *sorted(cuts), len(frames)]
    for start, stop in pairwise(bounds):
        part = None if cues is None else cues[start:stop]
        last = stop == len(frames) and start == bounds[-2]
        (encoded,) = strategy.encode([Chunk(frames[start:stop], state, last, part)])
        state = encoded.state
        results.append(encoded)
    assert state is None
    return torch.cat([r.embeddings for r in results]), torch.cat([r.computed for r in results])


@pytest.mark.parametrize("cue", CUES)
@pytest.mark.parametrize("chain", ["published", "compound", "root"])
def test_a_stream_does_not_depend_on_how_it_is_cut(cue: str, chain: str, small: Any) -> None:
    frames = small.frames(1, 14)[0]
    cues = torch.rand(14, 4, 4, 4) if cue == "codec" else None
    strategy = ReuseViT(small.tower(), small.modules(cue=cue, chain=chain), schedule=Schedule(8))
    whole, computed = feed(strategy, frames, [], cues)
    assert (computed[:, 1:] < 17).float().mean() > 0.1
    for cuts in ([1], [5, 6, 7], [0, 3, 3, 13], list(range(1, 14))):
        pieces, tokens = feed(strategy, frames, cuts, cues)
        torch.testing.assert_close(pieces, whole, rtol=1e-4, atol=1e-4)
        assert torch.equal(tokens, computed)


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lengths=st.lists(st.integers(0, 11), min_size=1, max_size=4), refresh=st.integers(0, 6))
def test_streams_do_not_touch_each_other(small: Any, lengths: list[int], refresh: int) -> None:
    strategy = ReuseViT(small.tower(), small.modules(), schedule=Schedule(refresh))
    clips = [small.frames(1, 12, seed=at)[0, :length] for at, length in enumerate(lengths)]
    together = strategy.encode([Chunk(clip, last=True) for clip in clips])
    for clip, encoded in zip(clips, together, strict=True):
        (alone,) = strategy.encode([Chunk(clip, last=True)])
        assert len(encoded.embeddings) == len(clip)
        torch.testing.assert_close(encoded.embeddings, alone.embeddings, rtol=1e-4, atol=1e-4)
        assert torch.equal(encoded.computed, alone.computed)
        assert torch.equal(encoded.full, alone.full)


@pytest.mark.parametrize("cue", ["none", "pixels"])
def test_a_saved_state_resumes_identically(cue: str, small: Any, tmp_path: Path) -> None:
    frames = small.frames(2, 13)
    strategy = ReuseViT(small.tower(), small.modules(cue=cue))
    begun = strategy.encode([Chunk(each[:7]) for each in frames])
    torch.save([each.state for each in begun], tmp_path / "state.pt")
    before = [deepcopy(each.state) for each in begun]
    first = strategy.encode(
        [Chunk(each[7:], e.state, last=True) for each, e in zip(frames, begun, strict=True)]
    )
    for kept, each in zip(before, begun, strict=True):  # a state is not changed by its use
        assert isinstance(kept, ReuseState)
        assert isinstance(each.state, ReuseState)
        assert kept.since == each.state.since
        assert kept.memory is not None
        assert each.state.memory is not None
        assert torch.equal(kept.memory.states, each.state.memory.states)
        assert torch.equal(kept.pending, each.state.pending)
    restored = torch.load(tmp_path / "state.pt", weights_only=False)
    again = ReuseViT(small.tower(), small.modules(cue=cue)).encode(
        [Chunk(each[7:], state, last=True) for each, state in zip(frames, restored, strict=True)]
    )
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a.embeddings, b.embeddings)
        assert torch.equal(a.computed, b.computed)


@pytest.mark.parametrize("tail", [1, 2, 3])
def test_a_tail_is_encoded_when_the_stream_ends(tail: int, small: Any) -> None:
    frames = small.frames(1, 5 + tail)[0]
    strategy = ReuseViT(small.tower(), small.modules())
    (open_end,) = strategy.encode([Chunk(frames)])
    assert len(open_end.embeddings) == 5
    assert open_end.state is not None
    assert len(open_end.state.pending) == tail
    (rest,) = strategy.encode([Chunk(frames[:0], open_end.state, last=True)])
    assert len(rest.embeddings) == tail


@given(cuts=st.lists(st.integers(0, 13), max_size=4), scene=st.integers(1, 12))
@settings(
    deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_scene_begins_with_a_full_frame(small: Any, cuts: list[int], scene: int) -> None:
    """Wherever it begins and however the stream is cut: both parts are as if alone."""
    frames = small.frames(1, 13)[0]
    frames[scene:] = 255 - small.frames(1, 13, seed=5)[0, scene:] // 4
    strategy = ReuseViT(small.tower(), small.modules(cue="none"))
    whole, computed = feed(strategy, frames, cuts)
    parts = [feed(strategy, part, []) for part in (frames[:scene], frames[scene:])]
    torch.testing.assert_close(whole, torch.cat([each for each, _ in parts]), rtol=1e-4, atol=1e-4)
    assert torch.equal(computed, torch.cat([each for _, each in parts]))
    assert (computed[scene] == 17).all()
    never = ReuseViT(small.tower(), small.modules(cue="none"), refresh=Refresh(cut=1.0))
    assert (feed(never, frames, [])[1][scene] < 17).any()


def test_cues_must_be_those_of_the_training(small: Any) -> None:
    frames, cues = small.frames(1, 2)[0], torch.rand(2, 4, 4, 4)
    for cue, raw in (("none", cues), ("pixels", cues), ("codec", None), ("codec", cues[:1])):
        strategy = ReuseViT(small.tower(), small.modules(cue=cue))
        with pytest.raises(UsageError, match="cues"):
            strategy.encode([Chunk(frames, cues=raw)])


def test_wrong_frames_are_refused(small: Any) -> None:
    strategy = ReuseViT(small.tower(), small.modules())
    with pytest.raises(UsageError, match="uint8"):
        strategy.encode([Chunk(torch.zeros(1, 3, 32, 32))])


def test_reuse_rate_counts_the_tokens_not_computed(small: Any) -> None:
    tower = small.tower()
    strategy = ReuseViT(tower, small.modules(), bias=float("inf"))
    (encoded,) = strategy.encode([Chunk(small.frames(1, 5)[0], last=True)])
    assert reuse_rate(encoded, tower).tolist() == pytest.approx([0, *[16 / 17] * 4])


B16 = VisionConfig(12, 768, 12, 3072, 16, 224, 512)
L14 = VisionConfig(24, 1024, 16, 4096, 14, 224, 768)


@pytest.mark.parametrize("shape", [B16, L14], ids=["B16", "L14"])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.85, 0.95])
def test_macs_equal_the_formula(shape: VisionConfig, rho: float) -> None:
    """`3ND² + 2LN²D + (L-1)[(1-ρ)12ND² + ρN512D + 1.75ND + (N-1)1280] + 9D² + …`."""
    n, d, gates = shape.tokens, shape.width, shape.layers - 1
    modules = ReuseConfig(cue="codec")
    reused = torch.full((4, gates), rho * n, dtype=torch.float64)
    counted = frame_macs(shape, modules, reused, (1, 2, 2, 2)).mean().item()
    formula = 3 * n * d * d + shape.layers * 2 * n * n * d + 9 * d * d
    formula += gates * ((1 - rho) * n * 12 * d * d + rho * n * 512 * d + 1.75 * n * d)
    formula += gates * (n - 1) * 1280 + codec_macs(shape.side)
    formula += shape.side**2 * d * 3 * shape.patch**2 + d * shape.dimension
    assert counted == pytest.approx(formula, rel=0.01)
    assert decision_macs(modules) == 1280


def test_worked_numbers_of_the_codec_net() -> None:
    assert (codec_macs(14), codec_macs(16)) == (1_377_856, 1_601_536)


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.9])
def test_macs_are_those_of_the_products_really_run(rate: float, small: Any) -> None:
    """Compare with torch's own count, which sees no dot products and no products in place."""
    config = replace(small.config(layers=3), width=128, mlp=512, heads=2)
    tower, modules = small.tower(config), small.modules(config, cue="none", narrow=8)
    patches = config.tokens - 1
    generator = torch.Generator().manual_seed(1)

    def forced(_gate: int, frames: int) -> Tensor:
        return torch.rand(frames, patches, generator=generator) < rate

    strategy = ReuseViT(tower, modules, forced=forced)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        (encoded,) = strategy.encode([Chunk(small.frames(1, 9)[0], last=True)])
    similarities = 2 * 14 * config.tokens * config.width  # 2 gates; 1 + 2 + 2 + 2 a group
    importances = 2 * 9 * config.tokens * config.width
    decisions = 2 * 8 * patches * 1280
    corrected = (config.tokens - encoded.computed[:, 1:]).sum().item() * 4 * 8 * config.width
    seen = encoded.macs.sum().item() - similarities - importances - decisions - corrected
    assert seen == pytest.approx(counter.get_total_flops() / 2, rel=1e-3)


def test_full_frames_cost_as_dense(small: Any) -> None:
    tower = small.tower()
    strategy = ReuseViT(tower, small.modules(cue="none"), schedule=Schedule(4))
    (encoded,) = strategy.encode([Chunk(small.frames(1, 6)[0], last=True)])
    importance = 3 * 17 * 32  # the class token's row, at each gate
    assert encoded.macs[encoded.full].tolist() == [dense_macs(tower.config) + importance] * 2


def test_built_by_name_from_a_file(small: Any, tmp_path: Path) -> None:
    tower, modules = small.tower(), small.modules()
    path = tmp_path / "modules.safetensors"
    save_modules(path, modules, Card(modules.config, "random", "", 0.85, refresh=4))
    built = build_strategy("reusevit", tower, parts=path, options={"bias": 0.5})
    assert isinstance(built, ReuseViT)
    assert built.schedule == Schedule(4)
    (a,) = built.encode([Chunk(small.frames(1, 5)[0], last=True)])
    (b,) = ReuseViT(tower, modules, bias=0.5).encode([Chunk(small.frames(1, 5)[0], last=True)])
    assert torch.equal(a.embeddings, b.embeddings)
    with pytest.raises(UsageError, match="nearest: refresh"):
        build_strategy("reusevit", tower, parts=path, options={"refrsh": 4})
    with pytest.raises(UsageError, match="train reuse"):
        build_strategy("reusevit", tower)
