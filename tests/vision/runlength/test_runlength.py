"""Run-length tokens against slow definitions, token by token, and what they count."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from engine.errors import UsageError
from engine.vision.backbone.macs import dense_macs
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.backbone.video import VideoConfig, VideoTower
from engine.vision.registry import build_strategy
from engine.vision.runlength.joint import RunLengthVideo, packs, video_macs
from engine.vision.runlength.mask import begins_run, patch_changes, run_lengths
from engine.vision.streaming.strategy import Chunk, Encoded, Strategy, StreamState
from tests.small import Small

SMALL = Small()
STD = np.array([0.229, 0.224, 0.225])


def build(tower: VisionTower | None = None, **options: Any) -> Strategy:
    return build_strategy("runlength", tower or SMALL.tower(), options=options)


def encode(strategy: Strategy, frames: Tensor) -> Encoded:
    [encoded] = strategy.encode([Chunk(frames, last=True)])
    return encoded


def moving(frames: int, *, seed: int = 0, size: int = 32) -> Tensor:
    """Frames of which some patches change, by much or little, and others stay as they are."""
    random = np.random.default_rng(seed)
    clip = np.repeat(random.integers(40, 200, (1, 3, size, size)), frames, 0)
    for at in range(1, frames):
        clip[at] = clip[at - 1]
        for _ in range(random.integers(0, 6)):
            row, column = (8 * random.integers(0, size // 8, 2)).tolist()
            clip[at, :, row : row + 8, column : column + 8] += random.integers(-9, 40)
    return torch.from_numpy(clip.clip(0, 255).astype(np.uint8))


def change_of(now: Any, before: Any) -> float:
    """Mean absolute change of two patches `[3, p, p]`, by numpy in double precision."""
    levels = abs(now.numpy().astype(float) - before.numpy().astype(float)) / 255
    return float((levels / STD[:, None, None]).mean())


def mask_of(clip: Tensor, tubelet: int, patch: int, threshold: float) -> np.ndarray:
    """Decide patch by patch, by the published rule."""
    steps, side = len(clip) // tubelet, clip.shape[-1] // patch
    kept = np.ones((steps, side, side), bool)
    for k in range(1, steps):
        for i in range(side):
            for j in range(side):
                cut = (slice(None), slice(i * patch, (i + 1) * patch),
                       slice(j * patch, (j + 1) * patch))  # fmt: skip
                now, before = clip[tubelet * k + tubelet - 1][cut], clip[tubelet * (k - 1)][cut]
                kept[k, i, j] = change_of(now, before) > threshold
    return kept


@pytest.mark.parametrize("tubelet", [1, 2, 3])
@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.05, 0.1, 0.4, math.inf])
def test_the_mask_and_the_lengths_are_their_definitions(tubelet: int, threshold: float) -> None:
    clips = torch.stack([moving(12, seed=seed) for seed in range(3)])
    kept = begins_run(clips, tubelet=tubelet, patch=8, threshold=threshold)
    for clip, got in zip(clips, kept, strict=True):
        assert np.array_equal(got.numpy(), mask_of(clip, tubelet, 8, threshold))
    lengths = run_lengths(kept)
    for got, flags in zip(lengths.numpy(), kept.numpy(), strict=True):
        for place in np.ndindex(*flags.shape[1:]):
            starts = [*np.flatnonzero(flags[:, *place]), len(flags)]
            wanted = np.zeros(len(flags), int)
            wanted[starts[:-1]] = np.diff(starts)
            assert np.array_equal(got[:, *place], wanted)
    assert (lengths.sum(1) == kept.shape[1]).all()


def test_a_change_of_just_the_threshold_is_dropped() -> None:
    clip = torch.full((2, 3, 8, 8), 100, dtype=torch.uint8)
    clip[1] += 10
    change = float(patch_changes(clip[1], clip[0], 8))
    assert change == pytest.approx(10 / 255 * float((1 / STD).mean()), rel=1e-6)
    for threshold, kept in ((change, False), (change * (1 - 1e-6), True)):
        assert bool(begins_run(clip[None], tubelet=1, patch=8, threshold=threshold)[0, 1]) is kept
    odd = torch.full((1, 4, 3, 8, 8), 100, dtype=torch.uint8)
    odd[0, 1] = 0  # inside the first tubelet, and neither its first frame nor a last one after it
    assert not begins_run(odd, tubelet=2, patch=8, threshold=0)[0, 1].any()


def slow_frames(tower: VisionTower, frames: Tensor, threshold: float, anchor: bool) -> Tensor:
    """Embed frame after frame: each place's newest token stands for it in every layer."""
    config, side = tower.config, tower.config.side
    special = int(config.class_token)
    seen: dict[int, Tensor] = {}
    rows: list[dict[int, Tensor]] = [{} for _ in range(config.layers)]
    ends: dict[int, Tensor] = {}
    out = []
    for number, frame in enumerate(frames):
        h0 = tower.embed(tower.normalise(frame[None]))[0]
        h = {-1: h0[0]} if special else {}
        for at in range(side**2):
            i, j = divmod(at, side)
            cut = frame[:, i * 8 : i * 8 + 8, j * 8 : j * 8 + 8]
            keep = number == 0 or change_of(cut, seen[at]) > threshold
            if keep:
                h[at] = h0[at + special]
            if keep or not anchor:
                seen[at] = cut
        for index in range(config.layers):
            layer = tower.layer(index)
            qkv = {at: layer.project(each) for at, each in h.items()}
            rows[index].update(qkv)  # all of a frame's rows are written before any attends
            table = torch.stack(list(rows[index].values()))
            k, v = (x.view(len(table), layer.heads, -1) for x in table.split(config.width, 1)[1:])
            new = {}
            for at, each in qkv.items():
                q = each[: config.width].view(layer.heads, -1)
                weights = (torch.einsum("hd,nhd->hn", q, k) / math.sqrt(q.shape[1])).softmax(1)
                new[at] = layer.finish(h[at], torch.einsum("hn,nhd->hd", weights, v).flatten())
            h = new
        ends |= h
        if special:
            out.append(tower.finish(h[-1][None])[0])
        else:
            out.append(tower.finish(torch.stack([ends[at] for at in range(side**2)])[None])[0])
    return torch.stack(out)


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("anchor", [True, False])
@pytest.mark.parametrize("threshold", [0.0, 0.03, 0.1])
def test_carried_rows_are_their_definition(
    class_token: bool, anchor: bool, threshold: float
) -> None:
    tower = SMALL.tower(SMALL.config(class_token=class_token))
    frames = moving(7)
    got = encode(build(tower, threshold=threshold, anchor=anchor), frames)
    exact = slow_frames(tower, frames, threshold, anchor)
    torch.testing.assert_close(got.embeddings, exact, rtol=1e-4, atol=1e-4)
    if not anchor:
        kept = mask_of(frames, 1, 8, threshold).reshape(7, -1).sum(1) + int(class_token)
        assert got.computed[:, 0].tolist() == kept.tolist()
        assert kept[1:].max() < 16


@pytest.mark.parametrize("class_token", [True, False])
def test_a_threshold_below_nothing_is_dense(class_token: bool) -> None:
    tower = SMALL.tower(SMALL.config(class_token=class_token))
    frames = moving(6)
    exact = encode(build_strategy("dense", tower), frames).embeddings
    runs = build(tower)
    for strategy in (build(tower, threshold=-1), runs.with_scale(0.0)):  # type: ignore[attr-defined]
        got = encode(strategy, frames).embeddings
        torch.testing.assert_close(got, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("class_token", [True, False])
def test_a_still_video_is_exact(class_token: bool) -> None:
    tower = SMALL.tower(SMALL.config(class_token=class_token))
    frames = SMALL.frames(1, 1)[0].repeat(5, 1, 1, 1)
    exact = encode(build_strategy("dense", tower), frames).embeddings
    got = encode(build(tower, threshold=0), frames)
    torch.testing.assert_close(got.embeddings, exact, rtol=1e-5, atol=1e-5)
    assert got.computed[1:].eq(int(class_token)).all()


def test_slow_drift_is_seen_by_the_anchor_alone() -> None:
    """Two levels a frame, where a run ends at more than 5.8: published, it never does."""
    ramp = torch.stack([torch.full((3, 32, 32), 60 + 2 * at, dtype=torch.uint8) for at in range(9)])
    tower = SMALL.tower()
    assert encode(build(tower), ramp).computed[:, 0].tolist() == [17] + 8 * [1]
    anchored = encode(build(tower, anchor=True), ramp).computed[:, 0].tolist()
    assert anchored == [17, 1, 1, 17, 1, 1, 17, 1, 1]


@settings(deadline=None, max_examples=10)
@given(cuts=st.lists(st.integers(0, 9), max_size=4), refresh=st.integers(0, 3))
def test_a_stream_does_not_depend_on_how_it_is_cut(cuts: list[int], refresh: int) -> None:
    first, other, strategy = moving(9), moving(9, seed=4), build(threshold=0.02, refresh=refresh)
    whole = strategy.encode([Chunk(first, last=True), Chunk(other, last=True)])
    state: StreamState | None = None
    parts = []
    for start, stop in pairwise([0, *sorted(cuts), 9]):
        beside = Chunk(other[:3], last=True)
        [_, part] = strategy.encode([beside, Chunk(first[start:stop], state)])
        state = part.state
        parts.append(part)
    vectors = torch.cat([part.embeddings for part in parts])
    torch.testing.assert_close(vectors, whole[0].embeddings, rtol=1e-4, atol=1e-4)
    assert torch.equal(torch.cat([part.full for part in parts]), whole[0].full)


@pytest.mark.parametrize("class_token", [True, False])
def test_counted_multiplications_are_those_done(class_token: bool) -> None:
    config = SMALL.config(class_token=class_token)
    strategy = build(SMALL.tower(config), threshold=0.02)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        got = encode(strategy, moving(6))
    assert counter.get_total_flops() / 2 == float(got.macs.sum()) - 5 * 3 * 32**2
    assert float(got.macs[0]) == dense_macs(config)
    assert float(got.macs[1:].max()) < float(got.macs[0])


def test_published_counts() -> None:
    """B/16 and L/14 with half, a quarter, a tenth and none of the patches, in billions."""
    shapes = {"B/16": (12, 768, 16, 512), "L/14": (24, 1024, 14, 768)}
    wanted = {"B/16": (8.83, 4.46, 1.87, 0.09), "L/14": (40.66, 20.49, 8.51, 0.32)}
    for name, (layers, width, patch, dimension) in shapes.items():
        with torch.device("meta"):
            shape = VisionConfig(layers, width, width // 64, 4 * width, patch, 224, dimension)
            tower = VisionTower(shape)
        stepper = build(tower).stepper  # type: ignore[attr-defined]
        patches = shape.side**2
        # the published sums have the last layer's token-wise work done for all rows
        tail = (4 * width**2 * 2 + width**2) / 1e9
        for share, giga in zip((0.5, 0.25, 0.1, 0), wanted[name], strict=True):
            rows = 1 + round(share * patches)
            computed = torch.full((1, layers), rows)
            got = float(stepper.macs(computed, torch.zeros(1, dtype=torch.bool))) / 1e9
            assert got + (rows - 1) * tail == pytest.approx(giga, abs=0.015)


def video(*, class_token: bool = False) -> VideoTower:
    shape = VideoConfig(
        layers=3, width=32, heads=4, mlp=64, patch=8, tubelet=2, image_size=32, num_frames=8,
        classes=5, class_token=class_token,
    )  # fmt: skip
    tower = VideoTower(shape)
    generator = torch.Generator().manual_seed(2)
    for parameter in tower.parameters():
        nn.init.normal_(parameter, std=0.25, generator=generator)
    return tower.requires_grad_(False).eval()


def slow_clip(tower: VideoTower, clip: Tensor, threshold: float, lengths: Any = None) -> Tensor:
    """Classify one clip: all tokens are embedded, then those dropped are taken out of a list."""
    config = tower.config
    kept = mask_of(clip, config.tubelet, config.patch, threshold).ravel()
    whole = list(tower.embed(tower.normalise(clip[None]))[0])
    rows = whole[:1] if config.class_token else []
    steps = kept.reshape(config.steps, -1)
    for at in np.flatnonzero(kept):
        row = whole[int(config.class_token) + at]
        if lengths is not None:
            step, place = divmod(int(at), steps.shape[1])
            later = [k for k in range(step + 1, config.steps) if steps[k, place]]
            row = row + lengths[(later[0] if later else config.steps) - step - 1]
        rows.append(row)
    h = torch.stack(rows)[None]
    for index in range(config.layers):
        h = tower.layer(index)(h)
    return tower.classify(h[:, 0] if config.class_token else h.mean(1))[0]


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.05, 0.1])
def test_packed_clips_are_their_definition(class_token: bool, threshold: float) -> None:
    tower = video(class_token=class_token)
    clips = torch.stack([moving(8, seed=seed) for seed in range(5)])
    table = torch.randn(4, 32, generator=torch.Generator().manual_seed(1))
    for lengths in (None, table):
        exact = torch.stack([slow_clip(tower, clip, threshold, lengths) for clip in clips])
        for budget in (10**6, 70):
            got = RunLengthVideo(tower, threshold, budget, lengths).classify(clips)
            torch.testing.assert_close(got.scores, exact, rtol=1e-4, atol=1e-4)
    if threshold < 0:
        dense = tower(tower.normalise(clips))
        packed = RunLengthVideo(tower, threshold).classify(clips)
        torch.testing.assert_close(packed.scores, dense, rtol=1e-4, atol=1e-5)
        assert packed.kept.eq(tower.config.tokens).all()


def test_a_clip_does_not_depend_on_those_beside_it() -> None:
    runs = RunLengthVideo(video(), 0.05)
    clips = torch.stack([moving(8, seed=seed) for seed in range(4)])
    together = runs.classify(clips).scores
    for order in ([2, 0, 3, 1], [1], [3, 3]):
        torch.testing.assert_close(
            runs.classify(clips[order]).scores, together[order], rtol=1e-4, atol=1e-5
        )
    assert runs.classify(clips[:0]).scores.shape == (0, 5)


def test_a_step_of_training_goes_through_the_kept_tokens() -> None:
    """The gradient of packed clips is that of the definition."""
    tower, clips = video().requires_grad_(True), torch.stack([moving(8, seed=s) for s in (1, 2)])
    runs = RunLengthVideo(tower, 0.05)
    kept = begins_run(clips, tubelet=2, patch=8, threshold=0.05)
    grads = []
    for scores in (
        runs.score(clips, kept),
        torch.stack([slow_clip(tower, clip, 0.05) for clip in clips]),
    ):
        tower.zero_grad()
        nn.functional.cross_entropy(scores, torch.tensor([0, 3])).backward()
        grads.append([p.grad.clone() for p in tower.parameters() if p.grad is not None])
    assert len(grads[0]) == len(list(tower.parameters()))
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_multiplications_of_clips_are_those_done() -> None:
    for class_token in (False, True):
        runs = RunLengthVideo(video(class_token=class_token), 0.05)
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            got = runs.classify(torch.stack([moving(8, seed=seed) for seed in range(3)]))
        assert counter.get_total_flops() / 2 == float(got.macs.sum())


def test_published_counts_of_clips() -> None:
    """16 steps of 14 x 14: 447.6 billion with all, 1.62, 2.51 and 7.40 times fewer with a part."""
    shape = VideoConfig(12, 768, 12, 3072, 16, 2, 224, 32, 400)
    layers = {
        share: 12 * (12 * n * 768**2 + 2 * n**2 * 768)
        for share in (1, 0.7, 0.5, 0.2)
        if (n := round(share * 3136))
    }
    for share, giga, times in (
        (1, 447.6, 1),
        (0.7, 275.3, 1.62),
        (0.5, 178.5, 2.51),
        (0.2, 60.5, 7.4),
    ):
        tokens = round(share * shape.tokens)
        outside = tokens * 768 * 1536 + 768 * 400
        assert video_macs(shape, tokens) - outside == layers[share]
        assert layers[share] / 1e9 == pytest.approx(giga, abs=0.1)
        assert layers[1] / layers[share] == pytest.approx(times, abs=0.01)


@given(counts=st.lists(st.integers(1, 9), max_size=12), budget=st.integers(9, 30))
def test_packs_hold_every_clip_once_within_the_budget(counts: list[int], budget: int) -> None:
    parts = [list(range(len(counts)))[part] for part in packs(counts, budget)]
    assert [at for part in parts for at in part] == list(range(len(counts)))
    assert all(sum(counts[at] for at in part) <= budget for part in parts)
    joined = pairwise(parts)
    assert all(sum(counts[at] for at in (*a, b[0])) > budget for a, b in joined)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="nearest: threshold"):
        build(treshold=0.1)
    with pytest.raises(UsageError, match="clips of 7 frames; allowed: multiples of 2"):
        RunLengthVideo(video()).classify(torch.zeros(1, 7, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(UsageError, match="30 x 30 pixels; allowed: multiples of 8"):
        patch_changes(*torch.zeros(2, 3, 30, 30, dtype=torch.uint8), 8)
    with pytest.raises(UsageError, match="a budget of 10 tokens; a clip has up to 64"):
        RunLengthVideo(video(), budget=10)
    with pytest.raises(UsageError, match=r"lengths must be \[4, 32\], got \[3, 32\]"):
        RunLengthVideo(video(), lengths=torch.zeros(3, 32))
