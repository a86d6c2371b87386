"""Calibration keeps the drift asked for, resumes, and says what it found."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.errors import UsageError
from engine.training.earlygate.calibrate import AIM, calibrate, layer_groups
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.streaming.cuts import kind_of

CONFIG = VisionConfig(layers=5, width=32, heads=2, mlp=64, patch=8, image_size=32, dimension=16)


@pytest.fixture(scope="module")
def gate() -> EarlyGate:
    torch.manual_seed(0)
    tower = VisionTower(CONFIG).eval().requires_grad_(False)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    return EarlyGate(tower, FixedLimits.uniform(CONFIG, 0.2))


def stream(seed: int, moved: float) -> Tensor:
    torch.manual_seed(seed)
    coarse = torch.rand(13, 3, 4, 4)
    mask = (torch.rand(13, 1, 4, 4) < moved).float()
    for at in range(1, 13):
        coarse[at] = coarse[at - 1] * (1 - mask[at]) + coarse[at] * mask[at]
    return (F.interpolate(coarse, size=32) * 255).to(torch.uint8)


def test_calibration_keeps_the_drift_and_resumes(gate: EarlyGate, tmp_path: Path) -> None:
    streams = [stream(seed, 0.05) for seed in range(3)] + [stream(9, 1.0)]
    memo = tmp_path / "trials.json"
    told = list[tuple[int, int, str]]()
    found = calibrate(
        gate, streams, max_drift=0.004, rounds=1, memo=memo, tell=lambda *step: told.append(step)
    )
    done = [step[0] for step in told]
    assert done == sorted(done)
    assert done[-1] == told[0][1]  # it ends where it said that it would
    assert len({step[1] for step in told}) == 1
    assert len(json.loads(memo.read_text())["trials"]) <= told[0][1]
    assert sum(step[2].startswith("drift 0.0") for step in told) > 5
    assert found.trial.drift <= AIM * 0.004
    assert found.trial.share < 0.95
    assert found.report["drift"] == pytest.approx(found.trial.drift, abs=1e-5)
    assert len(found.report["reuse_by_layer"]) == 4
    assert set(found.report["by_kind"]) <= {"still", "moving", "cut"}
    trials = memo.read_text()
    again = calibrate(gate, streams, max_drift=0.004, rounds=1, memo=memo)
    assert again.limits == found.limits
    assert memo.read_text() == trials
    tight = calibrate(gate, streams, max_drift=2e-5, rounds=0)
    assert tight.trial.share > found.trial.share


def test_layers_are_split_without_gaps() -> None:
    for gates in (1, 3, 4, 11, 23):
        groups = layer_groups(gates)
        assert [at for group in groups for at in group] == list(range(gates))


def test_kinds_and_bad_samples(gate: EarlyGate) -> None:
    assert kind_of(stream(0, 0.0), 8) == "still"
    assert kind_of(stream(1, 1.0), 8) == "cut"
    with pytest.raises(UsageError, match="two frames"):
        calibrate(gate, [stream(0, 0.0)[:1]])
