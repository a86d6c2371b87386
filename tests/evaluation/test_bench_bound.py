"""The bound and refinement measured, on towers and clips of toy size."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.evaluation.bench.bound import keep_bound, run_plain
from engine.evaluation.bench.refine import run as run_refine
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.strategy import EarlyGate

CONFIG = VisionConfig(layers=4, width=32, heads=2, mlp=64, patch=8, image_size=32, dimension=16)


@pytest.fixture(scope="module")
def gate() -> EarlyGate:
    torch.manual_seed(0)
    tower = VisionTower(CONFIG).eval().requires_grad_(False)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    return EarlyGate(tower, FixedLimits.uniform(CONFIG, 0.2))


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
@pytest.mark.real
def test_natural_clips_keep_the_bound(real_data: Path, tmp_path: Path) -> None:
    for name in ("people_room_fisheye.gif", "worker_warehouse.gif"):
        (tmp_path / name).symlink_to(real_data / "videos/natural" / name)
    weights = real_data / "weights/deit_tiny.npz"
    report = run_plain(weights, tmp_path, fps=8, frames=24, scales=())
    found = [dict(zip(report.columns, row, strict=True)) for row in report.rows]
    gates = [row for row in found if row["content"] == "all" and row["strategy"] != "interpolate"]
    assert {row["strategy"] for row in gates} == {"untrained", "bridging"}
    assert all(row["videos"] == 2 and row["worst"] <= 0.03 for row in gates)
    assert all(row["MACs ×"] > 1 for row in gates)


@pytest.mark.slow
def test_refinement_is_measured_with_the_builtin_model() -> None:
    report = run_refine(device="cpu", clips=1, num_queries=2)
    row = dict(zip(report.columns, report.rows[0], strict=True))
    assert row["queries"] == 2
    assert row["top-10 after"] >= row["top-10 before"]
    assert row["rows warm"] <= row["rows cold"]
    [moments] = report.more
    row = dict(zip(moments.columns, moments.rows[0], strict=True))
    assert row["moments after"] >= row["moments before"]
    assert row["rows warm"] <= row["rows cold"] <= row["rows of the first tenth"]
