"""Every video is judged once by what was calibrated without it."""

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.evaluation.bench.calibrate import SCALES, cross_validate
from engine.vision.backbone.tower import VisionConfig, VisionTower

CONFIG = VisionConfig(layers=4, width=32, heads=2, mlp=64, patch=8, image_size=32, dimension=16)


def stream(seed: int) -> Tensor:
    torch.manual_seed(seed)
    coarse = torch.rand(9, 3, 4, 4)
    for at in range(1, 9):
        moved = (torch.rand(1, 4, 4) < 0.1 * (seed + 1)).float()
        coarse[at] = coarse[at - 1] * (1 - moved) + coarse[at] * moved
    return (F.interpolate(coarse, size=32) * 255).to(torch.uint8)


def test_each_video_is_held_out_once() -> None:
    torch.manual_seed(0)
    tower = VisionTower(CONFIG).eval().requires_grad_(False)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    streams = [stream(seed) for seed in range(3)]
    found = cross_validate(tower, streams, folds=2, rounds=0, max_drift=0.01)
    for scale in SCALES:
        judged = found[f"calibrated ×{scale:g}"]
        assert sorted(each["video"] for each in judged) == [0, 1, 2]
        assert {each["fold"] for each in judged} == {0, 1}
    assert len(found["untrained"]) == 3
    loose, tight = (sum(v["reuse"] for v in found[f"calibrated ×{s:g}"]) for s in (1.0, 0.7))
    assert loose >= tight
    assert all(0 <= each["macs"] <= 1.1 for rows in found.values() for each in rows)
