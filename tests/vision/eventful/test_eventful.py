"""Eventful against a definition without any increments, and what it counts."""

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
from engine.vision.backbone.macs import dense_macs
from engine.vision.backbone.tower import VisionTower
from engine.vision.registry import build_strategy
from engine.vision.streaming.strategy import Chunk, Encoded, Strategy, StreamState
from tests.small import Small

SMALL = Small()


def build(tower: VisionTower | None = None, **options: Any) -> Strategy:
    return build_strategy("eventful", tower or SMALL.tower(), options=options)


def encode(strategy: Strategy, frames: Tensor) -> Encoded:
    [encoded] = strategy.encode([Chunk(frames, last=True)])
    return encoded


class Gate:
    """Lets the r most changed tokens through, and keeps what is made of all of them."""

    def __init__(self, r: int, keep_class: bool) -> None:
        self.r, self.keep_class = r, keep_class
        self.seen: list[Tensor] = []
        self.made: list[Tensor] = []

    def __call__(self, values: Tensor, make: Any) -> list[int]:
        if not self.seen:
            self.seen, self.made = list(values), [make(each) for each in values]
            return list(range(len(values)))
        far = [float((now - old).norm()) for now, old in zip(values, self.seen, strict=True)]
        if self.keep_class:
            far[0] = math.inf
        chosen = sorted(range(len(far)), key=lambda at: -far[at])[: self.r]
        for at in chosen:
            self.seen[at], self.made[at] = values[at], make(values[at])
        return chosen


class Reference:
    """One stream; sums are made anew from what each column was when its token last passed."""

    def __init__(self, tower: VisionTower, r: int, *, products: bool, keep_class: bool) -> None:
        self.tower, self.products = tower, products
        layers = tower.config.layers
        self.gates = [[Gate(r, keep_class) for _ in range(3)] for _ in range(layers)]
        self.columns: list[dict[int, tuple[Tensor, Tensor]]] = [{} for _ in range(layers)]

    def attend(self, index: int, chosen: list[int]) -> Tensor:
        layer, qkv = self.tower.layer(index), torch.stack(self.gates[index][0].made)
        width = qkv.shape[1] // 3
        q, k, v = (x.view(len(qkv), layer.heads, -1).transpose(0, 1) for x in qkv.split(width, 1))
        weights = (q @ k.transpose(1, 2) / math.sqrt(width // layer.heads)).softmax(-1)
        for at in chosen if self.products else range(len(qkv)):
            self.columns[index][at] = weights[:, :, at], v[:, at]
        kept = self.columns[index].values()
        mixed = sum(weight[:, :, None] * value[:, None] for weight, value in kept)
        assert isinstance(mixed, Tensor)
        return mixed.transpose(0, 1).reshape(len(qkv), width)

    def encode(self, frame: Tensor) -> Tensor:
        tower = self.tower
        h = tower.embed(tower.normalise(frame[None]))[0]
        for index, (first, second, third) in enumerate(self.gates):
            layer = tower.layer(index)

            def mlp(normed: Tensor, layer: Any = layer) -> Tensor:
                inner = layer.up(normed)
                return layer.down(inner * torch.sigmoid(1.702 * inner))

            mixed = self.attend(index, first(layer.norm1(h), layer.qkv))
            if index == tower.config.layers - 1:
                end = h[0] + layer.out(mixed[0])
                return tower.head(tower.post(end + mlp(layer.norm2(end))))
            second(mixed, layer.out)
            h = h + torch.stack(second.made)
            third(layer.norm2(h), mlp)
            h = h + torch.stack(third.made)
        raise AssertionError


@pytest.mark.parametrize("products", [True, False])
@pytest.mark.parametrize("keep_class", [True, False])
def test_it_is_its_definition(products: bool, keep_class: bool) -> None:
    tower, [frames] = SMALL.tower(), SMALL.frames(1, 8)
    reference = Reference(tower, 6, products=products, keep_class=keep_class)
    exact = torch.stack([reference.encode(frame) for frame in frames])
    got = encode(build(tower, r=6, products=products, keep_class=keep_class), frames)
    torch.testing.assert_close(got.embeddings, exact, rtol=1e-4, atol=1e-4)
    assert got.computed.tolist() == [[17] * 4] + 7 * [[6] * 4]
    dense = encode(build_strategy("dense", tower), frames).embeddings
    assert float((got.embeddings - dense)[1:].abs().max()) > 1e-3


@pytest.mark.parametrize("products", [True, False])
@pytest.mark.parametrize("class_token", [True, False])
def test_all_let_through_is_dense(products: bool, class_token: bool) -> None:
    tower, [frames] = SMALL.tower(SMALL.config(class_token=class_token)), SMALL.frames(1, 6)
    exact = encode(build_strategy("dense", tower), frames).embeddings
    few = build(tower, r=5, products=products)
    for strategy in (
        build(tower, r=99, products=products),
        few.with_scale(0.0),  # type: ignore[attr-defined]
    ):
        got = encode(strategy, frames).embeddings
        torch.testing.assert_close(got, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("r", [1, 4])
def test_a_still_video_is_exact(r: int) -> None:
    tower, frames = SMALL.tower(), SMALL.frames(1, 1)[0].repeat(6, 1, 1, 1)
    exact = encode(build_strategy("dense", tower), frames).embeddings
    torch.testing.assert_close(
        encode(build(tower, r=r), frames).embeddings, exact, rtol=1e-5, atol=1e-5
    )


def test_more_let_through_is_nearer() -> None:
    tower, [frames] = SMALL.tower(), SMALL.frames(1, 10)
    exact = encode(build_strategy("dense", tower), frames).embeddings
    errors = [
        float((encode(build(tower, r=r), frames).embeddings - exact).norm()) for r in (1, 6, 12, 17)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 < errors[0]


@settings(deadline=None, max_examples=10)
@given(cuts=st.lists(st.integers(0, 9), max_size=4), refresh=st.integers(0, 3))
def test_a_stream_does_not_depend_on_how_it_is_cut(cuts: list[int], refresh: int) -> None:
    frames, strategy = SMALL.frames(2, 9), build(r=5, refresh=refresh)
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


@pytest.mark.parametrize("products", [True, False])
def test_counted_multiplications_are_those_done(products: bool) -> None:
    """Beside those of torch's counter: gates and sums, one for each value they touch."""
    [frames], (n, d, heads, r) = SMALL.frames(1, 5), (17, 32, 4, 6)
    strategy = build(r=r, products=products)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        got = encode(strategy, frames)
    touched = 4 * n * d + 3 * 2 * n * d  # three gates, two fewer in the last layer
    touched += 4 * (n * d + heads * n * n + 2 * n * d + r * d) if products else 0
    assert counter.get_total_flops() / 2 == float(got.macs.sum()) - 4 * touched
    assert float(got.macs[0]) == dense_macs(SMALL.config())
    assert float(got.macs[1]) < float(got.macs[0])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="r of eventful is 0; allowed: a whole number, 1 or more"):
        build(r=0)
    with pytest.raises(UsageError, match="nearest: products"):
        build(product=True)
