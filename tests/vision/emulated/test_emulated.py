"""CMC and Eventful as emulated, against a definition token by token."""

import math
from itertools import pairwise

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
NAMES = {"cmc_emulated": {"threshold": 0.6}, "eventful_emulated": {"k": 6}}
DENSE = {"cmc_emulated": {"threshold": 0.0}, "eventful_emulated": {"k": 16}}


def build(name: str, tower: VisionTower | None = None, **options: float) -> Strategy:
    return build_strategy(name, tower or SMALL.tower(), options=options or NAMES[name])


def encode(strategy: Strategy, frames: Tensor) -> Encoded:
    [encoded] = strategy.encode([Chunk(frames, last=True)])
    return encoded


def heads_mixed(tower: VisionTower, index: int, qkv: Tensor) -> Tensor:
    layer = tower.layer(index)
    width = qkv.shape[1] // 3
    q, k, v = (part.view(len(qkv), layer.heads, -1).transpose(0, 1) for part in qkv.split(width, 1))
    weights = (q @ k.transpose(1, 2) / math.sqrt(width // layer.heads)).softmax(-1)
    return (weights @ v).transpose(0, 1).reshape(len(qkv), width)


def tail(tower: VisionTower, index: int, h: Tensor, mixed: Tensor) -> Tensor:
    layer = tower.layer(index)
    h = h + layer.out(mixed)
    inner = layer.up(layer.norm2(h))
    return h + layer.down(inner * torch.sigmoid(1.702 * inner))


def by_hand(
    tower: VisionTower, frames: Tensor, name: str, limit: float
) -> tuple[Tensor, list[list[int]]]:
    """Vectors and computed tokens of one stream, token by token."""
    kept: list[list[dict[str, Tensor]]] = []
    vectors, counts = [], []
    for frame in frames:
        h = tower.embed(tower.normalise(frame[None]))[0]
        qkv = tower.layer(0).qkv(tower.layer(0).norm1(h))
        counts.append([len(h)])
        for index in range(tower.config.layers - 1):
            mixed = heads_mixed(tower, index, qkv)
            following = tower.layer(index + 1)
            if len(kept) == index:
                kept.append([{} for _ in range(len(h))])
                chosen = set(range(len(h)))
            else:
                change = [row - old["mixed"] for row, old in zip(mixed, kept[index], strict=True)]
                if name == "cmc_emulated":
                    far = {at for at, each in enumerate(change) if each.abs().sum() >= limit}
                else:
                    ranked = sorted(range(1, len(h)), key=lambda at: -float(change[at].norm()))
                    far = set(ranked[: int(limit)])
                chosen = far | {0}
            for at in chosen:
                new = tail(tower, index, h[at], mixed[at])
                qkv_new = following.qkv(following.norm1(new))
                kept[index][at] = {"mixed": mixed[at], "h": new, "qkv": qkv_new}
            h = torch.stack([each["h"] for each in kept[index]])
            qkv = torch.stack([each["qkv"] for each in kept[index]])
            counts[-1].append(len(chosen))
        last = tower.config.layers - 1
        end = tail(tower, last, h[0], heads_mixed(tower, last, qkv)[0])
        vectors.append(tower.head(tower.post(end)))
    return torch.stack(vectors), counts


@pytest.mark.parametrize("name", NAMES)
def test_each_is_its_definition(name: str) -> None:
    tower, [frames] = SMALL.tower(), SMALL.frames(1, 8)
    [limit] = NAMES[name].values()
    exact, counts = by_hand(tower, frames, name, limit)
    got = encode(build(name, tower), frames)
    assert got.computed.tolist() == counts
    assert 2 < got.computed[1:, 1:].float().mean() < 16
    torch.testing.assert_close(got.embeddings, exact, rtol=1e-4, atol=1e-4)
    assert got.full.tolist() == [True] + 7 * [False]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("class_token", [True, False])
def test_nothing_reused_is_dense(name: str, class_token: bool) -> None:
    tower, [frames] = SMALL.tower(SMALL.config(class_token=class_token)), SMALL.frames(1, 5)
    exact = encode(build_strategy("dense", tower), frames)
    for strategy in (
        build(name, tower, **DENSE[name]),
        build(name, tower).with_scale(0.0),  # type: ignore[attr-defined]
        build_strategy(name, tower, options={"refresh": 0} | DENSE[name]),
    ):
        got = encode(strategy, frames)
        torch.testing.assert_close(got.embeddings, exact.embeddings, rtol=1e-4, atol=1e-5)
        assert (got.computed == tower.config.tokens).all()
        compared = 3 * 16 * 32
        assert got.macs.tolist() == [
            dense_macs(tower.config) + compared * (n > 0) for n in range(5)
        ]


@pytest.mark.parametrize("name", NAMES)
def test_a_still_video_is_exact_and_reuses_all_it_may(name: str) -> None:
    tower, frames = SMALL.tower(), SMALL.frames(1, 1)[0].repeat(6, 1, 1, 1)
    exact = encode(build_strategy("dense", tower), frames).embeddings
    options = {"threshold": 1e-3} if name == "cmc_emulated" else {"k": 0}
    got = encode(build(name, tower, **options), frames)
    torch.testing.assert_close(got.embeddings, exact, rtol=1e-5, atol=1e-5)
    assert (got.computed[1:, 1:] == 1).all()


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=10)
@given(cuts=st.lists(st.integers(0, 9), max_size=4), refresh=st.integers(0, 3))
def test_a_stream_does_not_depend_on_how_it_is_cut(
    name: str, cuts: list[int], refresh: int
) -> None:
    frames = SMALL.frames(2, 9)
    strategy = build(name, **NAMES[name], refresh=refresh)
    whole = strategy.encode([Chunk(each, last=True) for each in frames])
    state: StreamState | None = None
    parts = []
    for start, stop in pairwise([0, *sorted(cuts), 9]):
        other = Chunk(frames[1, :3], last=True)
        [_, part] = strategy.encode([other, Chunk(frames[0, start:stop], state)])
        state = part.state
        parts.append(part)
    for each in ("computed", "full"):
        assert torch.equal(torch.cat([getattr(p, each) for p in parts]), getattr(whole[0], each))
    vectors = torch.cat([part.embeddings for part in parts])
    torch.testing.assert_close(vectors, whole[0].embeddings, rtol=1e-4, atol=1e-4)
    if refresh:
        assert whole[0].full.tolist() == [at % (refresh + 1) == 0 for at in range(9)]


@pytest.mark.parametrize("name", NAMES)
def test_counted_multiplications_are_those_done(name: str) -> None:
    """Beside those of torch's counter: comparisons, one for each value of a patch."""
    [frames] = SMALL.frames(1, 6)
    strategy = build(name)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        got = encode(strategy, frames)
    assert counter.get_total_flops() / 2 == float(got.macs.sum()) - 5 * 3 * 16 * 32


@pytest.mark.parametrize("name", NAMES)
def test_a_larger_scale_computes_less(name: str) -> None:
    [frames], strategy = SMALL.frames(1, 8), build(name)
    costs = [
        float(encode(strategy.with_scale(scale), frames).macs.sum())  # type: ignore[attr-defined]
        for scale in (0.0, 0.5, 1.0, 1.5, 50.0)
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[2] > costs[4]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="k of eventful_emulated is -1; allowed"):
        build("eventful_emulated", k=-1)
    with pytest.raises(UsageError, match="nearest: threshold"):
        build("cmc_emulated", treshold=3)
