"""The bound and refinement measured, on towers and clips of toy size."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.evaluation.bench.bound import keep_bound
from engine.evaluation.bench.refine import run as run_refine
from engine.vision.gate.limits import Limits
from engine.vision.strategies.earlygate import EarlyGate
from engine.vision.tower import VisionConfig, VisionTower

CONFIG = VisionConfig(layers=4, width=32, heads=2, mlp=64, patch=8, image_size=32, dimension=16)


@pytest.fixture(scope="module")
def gate() -> EarlyGate:
    torch.manual_seed(0)
    tower = VisionTower(CONFIG).eval().requires_grad_(False)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    return EarlyGate(tower, Limits.uniform(CONFIG, 0.2))


def stream(seed: int) -> Tensor:
    torch.manual_seed(seed)
    coarse = torch.rand(21, 3, 4, 4)
    for at in range(1, 21):
        moved = (torch.rand(1, 4, 4) < 0.1).float()
        coarse[at] = coarse[at - 1] * (1 - moved) + coarse[at] * moved
    return (F.interpolate(coarse, size=32) * 255).to(torch.uint8)


def test_the_bound_is_looked_at_frame_by_frame(gate: EarlyGate) -> None:
    report = keep_bound(gate.tower, [stream(seed) for seed in range(4)], {"own": gate})
    total = dict(zip(report.columns, report.rows[-1], strict=True))
    assert total["content"] == "all"
    assert total["videos"] == 4
    assert total["kept"] == 1.0


@pytest.mark.slow
def test_refinement_is_measured_with_the_builtin_model() -> None:
    report = run_refine(device="cpu", clips=2, num_queries=4)
    row = dict(zip(report.columns, report.rows[0], strict=True))
    assert row["queries"] == 4
    assert row["top-10 after"] >= row["top-10 before"]
    assert row["rows warm"] <= row["rows cold"]
