"""DiffRate and ToMe against slow plain definitions, and what they count and refuse."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from engine.errors import UsageError
from engine.evaluation.bench.timed import TOWERS
from engine.vision.backbone.macs import dense_macs
from engine.vision.backbone.plain import load_plain
from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.merging.diffrate import DiffRate
from engine.vision.merging.even import even_rates
from engine.vision.merging.macs import reduced_macs
from engine.vision.merging.rates import SHIPPED, Rates, targets_of
from engine.vision.merging.strategy import Merging
from engine.vision.merging.tome import ToMe
from engine.vision.registry import build_strategy
from engine.vision.streaming.strategy import Chunk, Encoded
from tests.small import Small

SMALL = Small()
RATES = Rates((17, 14, 15, 9), (17, 12, 10, 5))
COUNTS = [17, 17, 12, 10]


def encode(strategy: Merging, frames: Tensor) -> Encoded:
    [encoded] = strategy.encode([Chunk(frames, last=True)])
    return encoded


def attention(tower: VisionTower, index: int, h: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """One frame's tokens `[n, D]` after attention, and the weights `[H, n, n]`."""
    layer = tower.layer(index)
    heads, width = layer.heads, h.shape[1]
    qkv = layer.qkv(layer.norm1(h))
    q, k, v = (part.view(len(h), heads, -1).transpose(0, 1) for part in qkv.split(width, 1))
    scores = q @ k.transpose(1, 2) / math.sqrt(width // heads) + sizes.log()[None, None]
    weights = scores.softmax(-1)
    return h + layer.out((weights @ v).transpose(0, 1).reshape(len(h), width)), weights


def mlp(tower: VisionTower, index: int, h: Tensor) -> Tensor:
    layer = tower.layer(index)
    inner = layer.up(layer.norm2(h))
    return h + layer.down(inner * torch.sigmoid(1.702 * inner))


def cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))


def diffrate_by_hand(tower: VisionTower, frame: Tensor, rates: Rates, *, sized: bool) -> Tensor:
    """Token by token, every layer reduced, as the specification has it."""
    h = tower.embed(tower.normalise(frame[None]))[0]
    sizes = torch.ones(len(h), dtype=h.dtype)
    for index in range(tower.config.layers):
        known = sizes.clamp(min=1e-6) if sized else torch.ones_like(sizes)
        h, weights = attention(tower, index, h, known)
        importance = [float(weights[:, 0, at].mean()) for at in range(len(h))]
        order = [0, *sorted(range(1, len(h)), key=lambda at: -importance[at])]
        order = order[: min(len(h), rates.pruned[index])]
        kept = min(len(order), rates.merged[index])
        groups: list[list[int]] = [[at] for at in order[:kept]]
        grown = [float(sizes[at]) for at in order[:kept]]
        for at in order[kept:]:
            near = [cosine(h[at], h[to]) for to in order[1:kept]]
            best = 1 + near.index(max(near))
            groups[best].append(at)
            grown[best] += max(near) * float(sizes[at])
        h = torch.stack([h[group].mean(0) for group in groups])
        sizes = torch.tensor(grown, dtype=h.dtype)
        h = mlp(tower, index, h)
    return tower.head(tower.post(h[0]))


def tome_by_hand(tower: VisionTower, frame: Tensor, r: list[int]) -> Tensor:
    h = tower.embed(tower.normalise(frame[None]))[0]
    sizes = torch.ones(len(h), dtype=h.dtype)
    for index in range(tower.config.layers):
        layer, width = tower.layer(index), h.shape[1]
        keys = layer.qkv(layer.norm1(h))[:, width : 2 * width]
        keys = keys.view(len(h), layer.heads, -1).mean(1)
        h, _ = attention(tower, index, h, sizes)
        even, odd = range(0, len(h), 2), range(1, len(h), 2)
        best = []
        for at in even[1:]:
            near = [cosine(keys[at], keys[to]) for to in odd]
            best.append((max(near), at, odd[near.index(max(near))]))
        moved = {at: to for _, at, to in sorted(best, reverse=True)[: r[index]]}
        groups = [[at] for at in even if at not in moved]
        groups += [[to, *(at for at, home in moved.items() if home == to)] for to in odd]
        h = torch.stack([(h[g] * sizes[g, None]).sum(0) / sizes[g].sum() for g in groups])
        sizes = torch.stack([sizes[g].sum() for g in groups])
        h = mlp(tower, index, h)
    return tower.head(tower.post(h[0]))


@pytest.mark.parametrize("sized", [True, False])
def test_diffrate_is_its_definition(sized: bool) -> None:
    tower, [frames] = SMALL.tower(), SMALL.frames(1, 5)
    got = encode(Merging(tower, DiffRate(RATES, sized), "diffrate", batch=2), frames)
    exact = torch.stack([diffrate_by_hand(tower, each, RATES, sized=sized) for each in frames])
    torch.testing.assert_close(got.embeddings, exact, rtol=1e-4, atol=1e-4)
    assert got.computed.tolist() == [COUNTS] * 5
    assert not got.full.any()


@pytest.mark.parametrize(("r", "falling"), [([3, 3, 3, 3], False), ([6, 4, 2, 0], True)])
def test_tome_is_its_definition(r: list[int], falling: bool) -> None:
    tower, [frames] = SMALL.tower(), SMALL.frames(1, 5)
    strategy = build_strategy("tome", tower, options={"r": 3, "falling": falling})
    assert isinstance(strategy, Merging)
    exact = torch.stack([tome_by_hand(tower, each, r) for each in frames])
    torch.testing.assert_close(encode(strategy, frames).embeddings, exact, rtol=1e-4, atol=1e-4)


def test_sizes_change_the_result() -> None:
    tower, [frames] = SMALL.tower(), SMALL.frames(1, 3)
    with_sizes, without = (
        encode(Merging(tower, DiffRate(RATES, sized), "diffrate"), frames).embeddings
        for sized in (True, False)
    )
    assert float((with_sizes - without).abs().max()) > 1e-3


@pytest.mark.parametrize("name", ["none", "scale 0", "r 0"])
def test_nothing_dropped_is_dense(name: str) -> None:
    tower, [frames] = SMALL.tower(), SMALL.frames(1, 4)
    found = {
        "none": Merging(tower, DiffRate(Rates.none(tower.config)), "diffrate"),
        "scale 0": Merging(tower, DiffRate(RATES), "diffrate").with_scale(0.0),
        "r 0": build_strategy("tome", tower, options={"r": 0}),
    }[name]
    [exact] = build_strategy("dense", tower).encode([Chunk(frames, last=True)])
    got = encode(found, frames)  # type: ignore[arg-type]
    torch.testing.assert_close(got.embeddings, exact.embeddings, rtol=1e-5, atol=1e-5)
    assert got.full.all()
    assert torch.equal(got.macs, exact.macs)


def test_two_equal_patches_merge_into_one_that_counts_twice() -> None:
    """With sizes, what is merged at cosine 1 leaves attention as it was."""
    tower = SMALL.tower()
    with torch.no_grad():
        tower.position[1:] = tower.position[1]
    frames = torch.full((1, 3, 32, 32), 90, dtype=torch.uint8)
    rates = Rates((17, 17, 17, 17), (17, 9, 4, 2))
    exact = build_strategy("dense", tower).encode([Chunk(frames, last=True)])[0].embeddings
    got = encode(Merging(tower, DiffRate(rates), "diffrate"), frames).embeddings
    torch.testing.assert_close(got, exact, rtol=1e-4, atol=1e-4)


def test_frames_may_come_in_any_pieces() -> None:
    strategy, frames = build_strategy("tome", SMALL.tower()), SMALL.frames(2, 6)
    whole = [strategy.encode([Chunk(each, last=True)])[0].embeddings for each in frames]
    first = strategy.encode([Chunk(frames[0, :2]), Chunk(frames[1, :0])])
    rest = strategy.encode(
        [Chunk(frames[0, 2:], first[0].state, True), Chunk(frames[1], first[1].state, True)]
    )
    assert first[0].state is not None
    assert first[0].state.num_frames == 2
    for place, both in enumerate(zip(first, rest, strict=True)):
        pieces = torch.cat([each.embeddings for each in both])
        torch.testing.assert_close(pieces, whole[place], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["diffrate", "tome"])
def test_counted_multiplications_are_those_done(name: str) -> None:
    """Beside those of torch's counter: the class token's row, where it is made anew."""
    tower, [frames] = SMALL.tower(), SMALL.frames(1, 2)
    rule = DiffRate(RATES) if name == "diffrate" else ToMe(3, 4)
    strategy = Merging(tower, rule, name)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        got = encode(strategy, frames)
    rows = (17 + 12) * 32 if name == "diffrate" else 0  # of the layers that drop any
    assert counter.get_total_flops() / 2 == float(got.macs.sum()) - 2 * rows
    assert float(got.macs[0]) < dense_macs(tower.config)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.integers(2, 17), st.integers(2, 17)), min_size=4, max_size=4))
def test_counts_only_fall(pairs: list[tuple[int, int]]) -> None:
    rates = Rates((17, *(each for each, _ in pairs[1:])), tuple(each for _, each in pairs))
    tower, [frames] = SMALL.tower(), SMALL.frames(1, 1)
    strategy = Merging(tower, DiffRate(rates), "diffrate")
    counts = strategy.counts()
    assert counts == sorted(counts, reverse=True)
    assert encode(strategy, frames).embeddings.isfinite().all()
    assert strategy.macs() <= strategy.with_scale(0.5).macs() <= strategy.with_scale(0.0).macs()


def test_rates_of_another_tower_are_refused_or_rescaled() -> None:
    tower = SMALL.tower()
    for rates, told in (
        ([17, 16, 15], "of 3 layers; this tower has 4"),
        ([[26, 26], [20, 20], [14, 14], [9, 8]], "for 26 tokens; this tower has 17"),
        ([17, 1, 1, 1], "keep 2 tokens or more"),
        ([17, "a", 9, 9], "count, or"),
        (7, "file or a list"),
    ):
        with pytest.raises(UsageError, match=told):
            build_strategy("diffrate", tower, options={"rates": rates})
    found = build_strategy(
        "diffrate",
        tower,
        options={"rates": [[26, 26], [20, 20], [14, 14], [9, 8]], "rescale": True},
    )
    assert isinstance(found, Merging)
    assert found.counts() == [17, 17, 13, 9]
    with pytest.raises(UsageError, match="diffrate needs rates"):
        build_strategy("diffrate", tower)
    with pytest.raises(UsageError, match="class token"):
        build_strategy("tome", SMALL.tower(SMALL.config(class_token=False)))


def test_rates_are_read_from_a_file(tmp_path: Path) -> None:
    lists = {"prune_kept_num": list(RATES.pruned), "merge_kept_num": list(RATES.merged)}
    file = tmp_path / "rates.json"
    file.write_text(json.dumps({"Ti": {"0.6": lists, "1.0": lists}, "S": {"2.3": lists}}))
    tower = SMALL.tower()

    def build(**options: Any) -> Any:
        return build_strategy("diffrate", tower, options={"rates": str(file), **options})

    assert build(model="Ti", target=1.0).counts() == COUNTS
    assert build(model="S").counts() == COUNTS
    with pytest.raises(UsageError, match="name a model; allowed: Ti, S"):
        build()
    with pytest.raises(UsageError, match=r"name a target; allowed: 0\.6, 1\.0"):
        build(model="Ti")
    with pytest.raises(UsageError, match=r"target of the rates '0\.5'"):
        build(model="Ti", target="0.5")
    file.write_text(json.dumps({"Ti": {"0.6": {"prune_kept_num": [17]}}}))
    with pytest.raises(UsageError, match="merge_kept_num must be"):
        build()
    file.write_text("[1]")
    with pytest.raises(UsageError, match="not rates"):
        build()
    file.write_text("{")
    with pytest.raises(UsageError, match="not JSON"):
        build()


def by_formula(config: VisionConfig, lists: dict[str, list[int]], classes: int) -> float:
    """Multiply-accumulates of a frame as they are published, every layer's tokens to the end."""
    n, d = config.tokens, config.width
    total = config.side**2 * d * 3 * config.patch**2 + d * classes
    for pruned, merged in zip(lists["prune_kept_num"], lists["merge_kept_num"], strict=True):
        mid = min(n, pruned)
        kept = min(mid, merged)
        total += 4 * n * d * d + 2 * n * n * d + (mid - kept) * kept * d + 8 * kept * d * d
        n = kept
    return total


@pytest.mark.real
@pytest.mark.parametrize(
    ("target", "cost"),
    [("0.6", 0.657), ("0.7", 0.728), ("0.8", 0.811), ("0.9", 0.904), ("1.0", 1.005)],
)
def test_published_lists_cost_what_they_were_made_for(
    real_data: Path, target: str, cost: float
) -> None:
    """The tightest list misses the target that it is named by: training only leans towards it."""
    file = real_data / "checkpoints/diffrate_published_rates.json"
    tower = load_plain(real_data / "weights/deit_tiny.npz")
    strategy = build_strategy(
        "diffrate", tower, options={"rates": file, "model": "ViT-T-DeiT", "target": target}
    )
    assert isinstance(strategy, Merging)
    formula = by_formula(
        tower.config, json.loads(file.read_text())["ViT-T-DeiT"][target], classes=1000
    )
    assert formula / 1e9 == pytest.approx(cost, abs=0.001)
    assert strategy.macs() == pytest.approx(formula, rel=0.02)  # our last layer ends in one row


@pytest.mark.parametrize(("name", "gmac"), [("L/14", 31.0), ("B/16", 8.7), ("Ti/16", 0.6)])
def test_even_rates_cost_what_they_are_asked_to(name: str, gmac: float) -> None:
    config = TOWERS[name]
    rates = even_rates(config, gmac)
    rates.check(config)
    assert reduced_macs(config, DiffRate(rates)) / 1e9 == pytest.approx(gmac, rel=0.02)
    assert list(rates.pruned) == sorted(rates.pruned, reverse=True)
    with pytest.raises(UsageError, match="gmac of this tower lies between"):
        even_rates(config, 1000.0)


def test_a_budget_stands_in_for_rates() -> None:
    tower, [frames] = SMALL.tower(), SMALL.frames(1, 2)
    dense = dense_macs(tower.config) / 1e9
    strategy = build_strategy("diffrate", tower, options={"gmac": 0.6 * dense})
    assert isinstance(strategy, Merging)
    assert float(encode(strategy, frames).macs[0]) / 1e9 <= 0.6 * dense
    for options in ({}, {"gmac": dense, "rates": [17] * 4}):
        with pytest.raises(UsageError, match="one of the two"):
            build_strategy("diffrate", tower, options=options)


def test_rates_that_ship_cost_their_share_and_are_the_built_in_model_s_alone() -> None:
    config = VisionConfig(12, 192, 3, 768, 16, 224, 256)  # its shape: random weights do here
    tower = VisionTower(config).eval()
    space = Space("builtin", "builtin", "local", "0" * 64, "{}", 256)
    shares = {}
    for target in targets_of(SHIPPED, "builtin"):
        found = build_strategy("diffrate", tower, space=space, options={"target": target})
        assert isinstance(found, Merging)
        shares[target] = found.macs() / dense_macs(config)
        assert shares[target] == pytest.approx(float(target), abs=0.02)
    assert list(shares) == ["0.71", "0.5", "0.35"]
    usual = build_strategy("diffrate", tower, space=space)
    assert isinstance(usual, Merging)
    assert usual.macs() / dense_macs(config) == shares["0.5"]
    with pytest.raises(UsageError, match="diffrate needs rates"):
        build_strategy("diffrate", tower)
