"""The detector that reads patches: what it gives against plain loops, and its folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from engine.errors import ModelError, UsageError
from engine.training.detect.export import export_detector
from engine.vision.backbone.dense import OVERLAP, DenseConfig, DenseDetector, alone, head_macs
from engine.vision.backbone.tower import VisionConfig
from engine.vision.backbone.windowed import WindowedConfig
from engine.vision.detect import load_detector
from engine.vision.rollout.windows import WindowedRollout, windowed_macs

WORDS = (("red", "blue"), ("cup", "ball", "star"))
SOURCE = VisionConfig(2, 16, 2, 32, 8, 40, 8)


def detector(**other: Any) -> DenseDetector:
    shape: dict[str, Any] = {
        "layers": 3, "width": 16, "heads": 2, "mlp": 32, "patch": 8, "side": 5, "trained": 5,
        "window": 0, "windowed": frozenset(), "relative": False, "pre_norm": True,
    }  # fmt: skip
    made = DenseDetector(DenseConfig(WindowedConfig(**shape | other), 12, (2, 3)))
    generator = torch.Generator().manual_seed(4)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.4, generator=generator)
    return made.requires_grad_(False).eval()


def values(count: int = 4) -> Tensor:
    return torch.randn(count, 3, 40, 40, generator=torch.Generator().manual_seed(1))


def test_scores_are_products_of_what_is_read() -> None:
    made = detector()
    with torch.inference_mode():
        logits, boxes = made(values())
        read = made.head(made.tower(values()))
    given = logits.softmax(-1)
    for picture in range(4):
        for patch in range(25):
            p = 1 / (1 + np.exp(-float(read.thing[picture, patch])))
            first, second = (each[picture, patch].softmax(-1).tolist() for each in read.attributes)
            whole = [p * a * b for a in first for b in second] + [1 - p]
            own = given[picture, patch].tolist()
            assert own == pytest.approx(whole, abs=1e-5) or own == [0] * 6 + [1]
            x, y, w, h = boxes[picture, patch].tolist()
            x0, y0, x1, y1 = read.boxes[picture, patch].tolist()
            assert (x, y, w, h) == pytest.approx(((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0))
    assert 0 < (given[..., -1] == 1).sum() < 100


@pytest.mark.parametrize("seed", range(3))
def test_the_likeliest_of_boxes_that_overlap_stays(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    low = 0.3 * torch.rand(3, 70, 2, generator=generator)
    boxes = torch.cat([low, low + 0.3 + 0.2 * torch.rand(3, 70, 2, generator=generator)], 2)
    scores = torch.rand(3, 70, generator=generator)
    got = alone(scores, boxes)
    for picture in range(3):
        kept: list[list[float]] = []
        for at in scores[picture].argsort(descending=True).tolist():
            a = boxes[picture, at].tolist()
            free = True
            for b in kept:
                wide, tall = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
                both = max(wide, 0) * max(tall, 0)
                joint = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
                free &= both / joint <= OVERLAP
            kept += [a] if free else []
            assert bool(got[picture, at]) == free
        assert 1 < len(kept) < 70


@pytest.mark.parametrize(
    "other", [{}, {"window": 2, "windowed": frozenset({0, 2}), "relative": True, "pre_norm": False}]
)
def test_its_folder_gives_the_same(tmp_path: Path, other: dict[str, Any]) -> None:
    """With windows and relative positions too: a ViTDet tower with a head."""
    made = detector(**other)
    export_detector(made, WORDS, SOURCE, tmp_path, torch.float32)
    loaded = load_detector(str(tmp_path), device="cpu")
    with torch.inference_mode():
        for ours, theirs in zip(loaded.tower(values()), made(values()), strict=True):
            torch.testing.assert_close(ours, theirs)
    assert loaded.labels[:4] == ("red cup", "red ball", "red star", "blue cup")
    assert loaded.places("blue star") == (5,)
    assert loaded.places("ball") == (1, 4)
    assert loaded.places("blue") == (3, 4, 5)
    with pytest.raises(UsageError, match=r"unknown object .* 'green cup'; allowed: .*nearest"):
        loaded.places("green cup")
    picture = np.random.default_rng(0).integers(0, 256, (50, 60, 3)).astype(np.uint8)
    assert (loaded.detect([picture]).scores > 0).any()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"attributes": None}, "without attributes"),
        ({"attributes": [["red", "blue"], ["cup", "star", "ball"]]}, "not its attributes combined"),
        ({"head_hidden_size": 13}, "detector: head"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    export_detector(detector(), WORDS, SOURCE, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=said):
        load_detector(str(tmp_path), device="cpu")


def test_pruning_reads_the_same_where_all_is_kept_and_costs_what_is_counted() -> None:
    made = detector()
    runs = WindowedRollout(made.tower, keep=1.0, every=0)
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH):
        for picture in values():
            logits, boxes = made.name(runs.step(picture[None]))
            whole, sides = made(picture[None])
            torch.testing.assert_close(logits, whole, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(boxes, sides, rtol=1e-4, atol=1e-4)
        with FlopCounterMode(display=False) as counter:
            made(values(1))
    assert counter.get_total_flops() == 2 * (
        windowed_macs(made.config.tower, None) + head_macs(made.config)
    )
