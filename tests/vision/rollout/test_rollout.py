"""Rollout-guided pruning against a plain definition, its published counts, and what it counts."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from engine.errors import UsageError
from engine.vision.backbone.macs import (
    attend_macs,
    dense_macs,
    embed_macs,
    mlp_macs,
    out_macs,
    project_macs,
)
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.registry import build_strategy
from engine.vision.rollout.select import PatchShares, grid_patches
from engine.vision.rollout.stepper import pruned_macs
from engine.vision.streaming.strategy import Chunk, Encoded, Strategy, StreamState
from tests.small import Small

SMALL = Small()


def build(tower: VisionTower | None = None, **options: Any) -> Strategy:
    return build_strategy("rgtp", tower or SMALL.tower(), options=options)


def encode(strategy: Strategy, frames: Tensor) -> Encoded:
    [encoded] = strategy.encode([Chunk(frames, last=True)])
    return encoded


class Reference:
    """One stream; the rollout is the product of whole matrices, everything else goes by lists."""

    def __init__(self, tower: VisionTower, *, keep: float, fg: float, bg: float, every: int,
                 reset: str) -> None:  # fmt: skip
        self.tower, self.keep, self.fg, self.bg = tower, keep, fg, bg
        self.every, self.reset, self.frames = every, reset, 0
        self.heat: list[float] = []
        self.before: Tensor | None = None

    def kept(self, now: Tensor) -> list[int]:
        """Patches that go on, in the order in which they are chosen."""
        side = self.tower.config.side
        everything = list(range(side * side))
        if self.frames == 0 or (self.every and self.frames % self.every == 0):
            if self.frames == 0 or self.reset == "full":
                return everything
            places = [divmod(at, side) for at in everything]
            if self.reset == "1in2":
                return [at for at, (i, j) in enumerate(places) if (i + j) % 2 == 0]
            return [at for at, (i, j) in enumerate(places) if i % 2 == 0 and j % 2 == 0]
        assert self.before is not None
        scores = []
        for at in everything:
            i, j = divmod(at, side)
            near = [(i, j)] + [
                (i + di, j + dj) for di in (-1, 0, 1) for dj in (-1, 0, 1) if (di, dj) != (0, 0)
            ]
            near = [(a, b) for a, b in near if 0 <= a < side and 0 <= b < side]
            likes = [float(now[at] @ self.before[a * side + b]) for a, b in near]
            a, b = near[likes.index(max(likes))]
            scores.append(self.heat[a * side + b])
        order = sorted(everything, key=lambda at: -scores[at])
        front = round(self.keep * len(order))
        fore = order[:front][:: round(1 / self.fg)]
        back = sorted(order[front:])[:: round(1 / self.bg)] if self.bg else []
        return fore + back

    def encode(self, frame: Tensor) -> tuple[Tensor, int]:
        tower, config = self.tower, self.tower.config
        special = int(config.class_token)
        values = tower.normalise(frame[None])
        now = tower.patch(tower.cut(values))[0]
        kept = self.kept(now)
        rows = [0] * special + [at + special for at in kept]
        h = tower.embed(values)[0]
        matrices = []
        for index in range(config.layers):
            layer = tower.layer(index)
            qkv = layer.project(h)
            q, k, v = (x.view(len(h), config.heads, -1).transpose(0, 1) for x in qkv.split(32, 1))
            weights = (q @ k.transpose(1, 2) / math.sqrt(q.shape[2])).softmax(-1)
            fused = (weights**2).mean(0).sqrt()
            mixed = (weights @ v).transpose(0, 1).reshape(len(h), 32)
            whole = (fused + torch.eye(len(h))) / 2
            matrix = whole / whole.sum(1, keepdim=True)
            h = h + layer.out(mixed)
            if index == 0:
                keys = k.mean(0)[special:]
                matrix, h = matrix[rows][:, rows], h[rows]
            matrices.append(matrix)
            h = layer.feed_forward(h)
        product = matrices[0]
        for matrix in matrices[1:]:
            product = matrix @ product
        if special:
            shares = product[0, 1:]
        else:
            pool = tower.pool
            q = pool.q(pool.probe).view(config.heads, -1)
            k = pool.kv(tower.post(h))[:, :32].view(len(h), config.heads, -1)
            asked = (torch.einsum("hd,nhd->hn", q, k) / math.sqrt(q.shape[1])).softmax(1)
            row = (asked**2).mean(0).sqrt()
            shares = (row / row.sum()) @ product
        found = dict(zip(kept, shares.tolist(), strict=True))
        for at in range(config.side**2):
            if at not in found:
                likes = [float(keys[at] @ keys[other]) for other in kept]
                found[at] = float(shares[likes.index(max(likes))])
        total = sum(found.values())
        self.heat = [found[at] / total for at in range(config.side**2)]
        self.before, self.frames = now, self.frames + 1
        return tower.finish(h[None])[0], len(rows)


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("reset", ["full", "1in2", "1in4"])
@pytest.mark.parametrize(("keep", "fg", "bg"), [(0.5, 1.0, 0.25), (0.4, 0.5, 0.0)])
def test_it_is_its_definition(
    class_token: bool, reset: str, keep: float, fg: float, bg: float
) -> None:
    tower = SMALL.tower(SMALL.config(class_token=class_token))
    [frames] = SMALL.frames(1, 9)
    reference = Reference(tower, keep=keep, fg=fg, bg=bg, every=4, reset=reset)
    exact, counts = zip(*(reference.encode(frame) for frame in frames), strict=True)
    options = {"keep": keep, "foreground": fg, "background": bg, "every": 4, "reset": reset}
    got = encode(build(tower, **options), frames)
    torch.testing.assert_close(got.embeddings, torch.stack(exact), rtol=1e-4, atol=1e-4)
    assert got.computed[:, 1].tolist() == list(counts)
    assert len(set(counts)) == (2 if reset == "full" else 3)


@pytest.mark.parametrize("class_token", [True, False])
def test_all_kept_is_dense(class_token: bool) -> None:
    tower, [frames] = SMALL.tower(SMALL.config(class_token=class_token)), SMALL.frames(1, 6)
    exact = encode(build_strategy("dense", tower), frames).embeddings
    few = build(tower, keep=0.2, foreground=0.5, reset="1in4", every=2)
    for strategy in (build(tower, keep=1), few.with_scale(0.0)):  # type: ignore[attr-defined]
        torch.testing.assert_close(encode(strategy, frames).embeddings, exact, rtol=1e-4, atol=1e-5)


def test_a_full_frame_forgets_what_was_before() -> None:
    first, second = SMALL.frames(2, 8)
    mixed = torch.cat([first[:4], second[4:]])
    whole, other = (encode(build(every=4), frames).embeddings for frames in (second, mixed))
    torch.testing.assert_close(other[4:], whole[4:], rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=10)
@given(
    cuts=st.lists(st.integers(0, 9), max_size=4),
    every=st.sampled_from([0, 2, 3]),
    reset=st.sampled_from(["full", "1in2"]),
)
def test_a_stream_does_not_depend_on_how_it_is_cut(cuts: list[int], every: int, reset: str) -> None:
    frames, strategy = SMALL.frames(2, 9), build(every=every, reset=reset)
    whole = strategy.encode([Chunk(each, last=True) for each in frames])
    state: StreamState | None = None
    parts = []
    for start, stop in pairwise([0, *sorted(cuts), 9]):
        other = Chunk(frames[1, :3], last=True)
        [_, part] = strategy.encode([other, Chunk(frames[0, start:stop], state)])
        state = part.state
        parts.append(part)
    vectors = torch.cat([part.embeddings for part in parts])
    torch.testing.assert_close(vectors, whole[0].embeddings, rtol=1e-4, atol=1e-4)
    assert torch.equal(torch.cat([part.full for part in parts]), whole[0].full)


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("reset", ["full", "1in2"])
def test_counted_multiplications_are_those_done(class_token: bool, reset: str) -> None:
    """Beside those of torch's counter, which counts no product of a token with one other."""
    config, [frames] = SMALL.config(class_token=class_token), SMALL.frames(1, 7)
    strategy = build(SMALL.tower(config), keep=0.3, every=3, reset=reset)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        got = encode(strategy, frames)
    tracked = 4 * 9 * 16 * 32  # four frames are neither full nor on a grid
    assert counter.get_total_flops() / 2 == float(got.macs.sum()) - tracked
    assert float(got.macs[1]) < float(got.macs[0])


def test_published_patches_are_kept() -> None:
    """Of EPIC's 400: foreground and background as the published names say."""
    published = [
        (0.75, 1, 0.25, 300 + 25), (0.45, 1, 0.16666, 180 + 37), (0.30, 1, 0.05, 120 + 14),
        (0.40, 0.5, 0.09, 80 + 22), (0.24, 0.5, 0.03, 48 + 10), (0.14, 0.5, 0.0, 28),
    ]  # fmt: skip
    scores = torch.rand(2, 400, generator=torch.Generator().manual_seed(0))
    for keep, fg, bg, count in published:
        selection = PatchShares(keep, fg, bg)
        chosen = selection.choose(scores)
        assert chosen.shape == (2, count) == (2, selection.count(400))
        assert all(len(set(row)) == count for row in chosen.tolist())
    assert [len(grid_patches(grid, 14)) for grid in ("full", "1in2", "1in4")] == [196, 98, 49]


def test_published_counts_of_vivit() -> None:
    """Kinetics, 16 steps of 12 views: 3.36, 1.79, 1.01 and 0.61 T; resets keep one patch in two.

    What the paper counts has no patch embedding, and no class token alone in the last layer; its
    temporal half, four layers over 17 tokens, is added.
    """
    shape = VisionConfig(12, 768, 12, 3072, 16, 224, 768, projection=False)
    tail = 9 * 768**2
    temporal = 4 * (12 * 17 * 768**2 + 2 * 17**2 * 768)

    def spatial(kept: int) -> float:
        tokens = torch.tensor([1.0 + kept])
        return float(pruned_macs(shape, tokens)) - embed_macs(shape) + kept * tail

    dense = dense_macs(shape) - embed_macs(shape) + 196 * tail
    assert 12 * (16 * dense + temporal) / 1e12 == pytest.approx(3.36, abs=0.005)
    for keep, published in ((0.49, 1.79), (0.215, 1.01), (0.066, 0.61)):
        kept = PatchShares(keep, 1, 0).count(196)
        clip = dense + spatial(len(grid_patches("1in2", 14))) + 14 * spatial(kept)
        assert 12 * (clip + temporal) / 1e12 == pytest.approx(published, rel=0.012)


def test_published_counts_of_vitdet() -> None:
    """VID at 672 pixels, a reset in eight frames: 174.5, then 93.4/72.6/62.1/46.8/36.0 G.

    Eight layers see windows of 196 tokens, four see all. The detection form keeps old keys, values
    and outputs: queries are those kept, but in windows. Left out are relative positions and the
    rollout, 0.7 G on average: the tolerance.
    """
    shape = VisionConfig(12, 768, 12, 3072, 16, 672, 768, class_token=False)
    n, window = 1764, 196

    def frame(kept: int) -> int:
        first = project_macs(shape, n) + attend_macs(shape, n, window) + out_macs(shape, n)
        windows, whole = attend_macs(shape, n, window), attend_macs(shape, kept)
        rest = project_macs(shape, kept) + out_macs(shape, kept) + mlp_macs(shape, kept)
        return (
            embed_macs(shape) + first + mlp_macs(shape, kept) + 11 * rest + 7 * windows + 4 * whole
        )

    assert frame(n) / 1e9 == pytest.approx(174.5, rel=0.002)
    for kept, published in ((767, 93.4), (512, 72.6), (384, 62.1), (196, 46.8), (64, 36.0)):
        mean = (frame(n) + 7 * frame(kept)) / 8 / 1e9
        assert 0 < published - mean < 0.8


def test_published_counts_of_frames() -> None:
    """Guided frames of B/16 and L/14 without a background, as the accounting says, in billions."""
    for (layers, width, patch), keeps in {
        (12, 768, 16): ((0.75, 13.21), (0.5, 8.93), (0.25, 4.73), (0.1, 2.28)),
        (24, 1024, 14): ((0.75, 60.55), (0.5, 40.45), (0.25, 20.74), (0.1, 9.21)),
    }.items():
        shape = VisionConfig(layers, width, width // 64, 4 * width, patch, 224, width)
        for keep, giga in keeps:
            kept = round(keep * shape.side**2)
            got = float(pruned_macs(shape, torch.tensor([kept + 1.0])))
            got += 9 * width**2 * kept  # all rows go through the last layer there
            got -= (shape.tokens - kept - 1) * width**2  # and layer 0's output is of those kept
            assert got / 1e9 == pytest.approx(giga, rel=0.012)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="keep 0; allowed: above 0, at most 1"):
        build(keep=0)
    with pytest.raises(UsageError, match=r"background -0\.1; allowed: 0 to 1"):
        build(background=-0.1)
    with pytest.raises(UsageError, match="unknown reset '1in3'; allowed: 1in2, 1in4, full"):
        build(reset="1in3")
    with pytest.raises(UsageError, match="every 1 with full resets"):
        build(every=1)
    with pytest.raises(UsageError, match="reach of rgtp is -1; allowed: a whole number"):
        build(reach=-1)
    assert encode(build(reach=0), SMALL.frames(1, 4)[0]).embeddings.isfinite().all()
