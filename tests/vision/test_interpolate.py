"""Interpolation between key frames: exact at keys, on straight lines between, cut as one likes."""

from itertools import pairwise

import pytest
import torch

from engine.errors import UsageError
from engine.vision.backbone.macs import dense_macs
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.interpolate import Interpolate
from engine.vision.registry import STRATEGIES, build_strategy
from engine.vision.streaming.dense import Dense
from engine.vision.streaming.strategy import Chunk, StreamState

CONFIG = VisionConfig(layers=2, width=16, heads=2, mlp=32, patch=8, image_size=16, dimension=8)


def make() -> tuple[VisionTower, torch.Tensor]:
    torch.manual_seed(0)
    tower = VisionTower(CONFIG).eval().requires_grad_(False)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return tower, torch.randint(0, 256, (12, 3, 16, 16), dtype=torch.uint8)


@pytest.mark.parametrize("every", [1, 2, 3, 5, 40])
@pytest.mark.parametrize("cuts", [[12], [1, 2, 3, 6], [0, 7, 0, 4, 1, 0]])
def test_keys_are_dense_and_the_rest_lies_between(every: int, cuts: list[int]) -> None:
    tower, clip = make()
    [dense] = Dense(tower).encode([Chunk(clip, last=True)])
    state: StreamState | None = None
    parts = []
    for start, stop in pairwise([0, *torch.tensor(cuts).cumsum(0).tolist()]):
        [part] = Interpolate(tower, every).encode([Chunk(clip[start:stop], state)])
        state = part.state
        parts.append(part)
    [part] = Interpolate(tower, every).encode([Chunk(clip[:0], state, last=True)])
    parts.append(part)
    vectors = torch.cat([part.embeddings for part in parts])
    full = torch.cat([part.full for part in parts])
    macs = torch.cat([part.macs for part in parts])
    keys = sorted({*range(0, 12, every), 11})
    assert full.nonzero().flatten().tolist() == keys
    assert float(macs.sum()) == len(keys) * dense_macs(CONFIG)
    for left, right in pairwise(keys):
        for at in range(left, right + 1):
            share = (at - left) / (right - left)
            line = dense.embeddings[left].lerp(dense.embeddings[right], share)
            torch.testing.assert_close(vectors[at], line, rtol=1e-4, atol=1e-5)


def test_scale_moves_the_distance_and_one_is_the_least() -> None:
    tower, _ = make()
    assert Interpolate(tower, 4).with_scale(0.5).every == 2
    assert Interpolate(tower, 4).with_scale(0.01).every == 1
    with pytest.raises(UsageError, match="at least 1"):
        Interpolate(tower, 0)


def test_strategies_are_built_by_name() -> None:
    tower, clip = make()
    for name in STRATEGIES.own.keys() - {"reusevit", "diffrate"}:
        strategy = build_strategy(name, tower)
        assert strategy.name == name
        assert len(strategy.encode([Chunk(clip, last=True)])[0].embeddings) == 12
    with pytest.raises(UsageError, match="nearest: dense"):
        build_strategy("dens", tower)
    with pytest.raises(UsageError, match="unknown option of interpolate"):
        build_strategy("interpolate", tower, options={"evry": 3})
    with pytest.raises(UsageError, match="nearest: threshold"):
        build_strategy("earlygate", tower, options={"treshold": 3})
