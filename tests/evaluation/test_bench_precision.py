"""Precisions compared on toy towers: fewer bits drift more, dense not at all."""

import torch

from engine.evaluation.bench.precision import precisions, tabulate
from engine.evaluation.compare import Comparison, encode_settings, natural_points
from engine.evaluation.encodings import render_pool
from engine.vision.backbone.tower import VisionConfig, VisionTower


def test_fewer_bits_drift_more() -> None:
    torch.manual_seed(0)
    tower = VisionTower(VisionConfig(3, 32, 2, 64, 16, 32, 16)).eval().requires_grad_(False)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    settings = precisions(tower)
    videos = (pixels for _, pixels in render_pool("test", 2, 5, fps=1.0, size=32, workers=0))
    encodings = encode_settings(settings, videos, torch.device("cpu"), streams=2)
    points = list(natural_points(settings, encodings, torch.rand(5, 16)))
    report = tabulate(Comparison("Toy", ("two clips",), points))
    assert report.columns == ("precision", "drift", "p5", "worst", "nearest", "top-1")
    assert [row[0] for row in report.rows] == ["bf16", "fp8"]
    assert 0 < points[1].drift < points[2].drift < 0.05
