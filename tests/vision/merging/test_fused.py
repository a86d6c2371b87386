"""DiffRate and ToMe as graphs, against their forwards in plain PyTorch."""

import pytest
import torch

from engine.vision.backbone.tower import VisionConfig
from engine.vision.merging.diffrate import DiffRate
from engine.vision.merging.fused import FusedMerging
from engine.vision.merging.rates import Rates
from engine.vision.merging.reduction import Reduction
from engine.vision.merging.strategy import Merging
from engine.vision.merging.tome import ToMe
from engine.vision.registry import build_strategy
from engine.vision.streaming.strategy import Chunk
from tests.vision.fused.test_dense import BIG, TOLERANCE, distance, make_pixels, make_tower

SMALL = VisionConfig(3, 32, 2, 32, 4, 12, 8)  # 10 tokens
RATES = Rates((10, 8, 6), (8, 5, 4))
RULES = {
    "diffrate": DiffRate(RATES),
    "unsized": DiffRate(RATES, proportional=False),
    "pruned": DiffRate(Rates((10, 7, 9), (10, 10, 10))),
    "tome": ToMe(2, 3),
    "none": DiffRate(Rates.none(SMALL)),
}


@pytest.mark.parametrize("name", RULES)
def test_small_tower_reduces_as_the_plain_path(name: str) -> None:
    tower, rule = make_tower(SMALL), RULES[name]
    pixels = make_pixels(SMALL, 2)
    plain = Merging(tower, rule, name).embed(tower.normalise(pixels))
    assert distance(FusedMerging(tower, rule, 2).encode(pixels), plain) <= 1e-5


def test_another_rule_uses_the_same_memory() -> None:
    tower = make_tower(SMALL)
    first = Merging(tower, RULES["tome"], "tome", fused=FusedMerging(tower, RULES["tome"], 2))
    dense = first.with_scale(0.0)
    assert dense.fused is not None
    assert first.fused is not None
    assert dense.fused.pixels is first.fused.pixels
    pixels = make_pixels(SMALL, 2)
    [encoded] = dense.encode([Chunk(pixels, last=True)])
    assert encoded.full.all()
    assert distance(encoded.embeddings, tower(tower.normalise(pixels))) <= 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize(
    "rule", [ToMe(20, 4), DiffRate(Rates((257, 200, 150, 9), (257, 180, 99, 5)))]
)
def test_a_tower_on_a_gpu_reduces_as_the_plain_path(rule: Reduction) -> None:
    tower = make_tower(BIG, device="cuda")
    pixels = make_pixels(BIG, 37, "cuda")
    fused = FusedMerging(tower, rule, 16)
    plain = Merging(tower, rule, "").embed(tower.normalise(pixels))
    # a pair nearly as similar as another may be merged in its place
    assert distance(fused.encode(pixels), plain) <= 5 * TOLERANCE
    assert torch.equal(fused.encode(pixels), fused.encode(pixels))
    strategy = build_strategy("tome", tower, options={"r": 20})
    [encoded] = strategy.encode([Chunk(pixels, last=True)])
    assert encoded.embeddings.isfinite().all()
