"""The detector's training: what patches tell against plain loops, and that it learns."""

from pathlib import Path

import pytest
import torch
from torch import nn

from engine.errors import UsageError
from engine.training.detect.data import ATTRIBUTES, UNTOLD, Pictures, recoloured, render_pictures
from engine.training.detect.loss import CENTRAL, LEAST_SEEN, NEAR, assign, detection_loss
from engine.training.detect.train import DetectorTraining, begin, shifted, train
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.detect import load_detector

SHAPE = VisionConfig(2, 16, 2, 32, 16, 112, 8)


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return render_pictures("train", 24, 3, size=112, workers=0)


def test_a_pool_is_what_its_seed_says(pictures: Pictures) -> None:
    again = render_pictures("train", 24, 3, size=112, workers=0)
    assert torch.equal(pictures.pixels, again.pixels)
    assert torch.equal(pictures.boxes, again.boxes)
    other = render_pictures("train", 24, 4, size=112, workers=0)
    assert not torch.equal(pictures.pixels, other.pixels)
    assert (pictures.visible > 0).sum() > 24


def test_a_patch_tells_the_object_that_it_is_most_central_in(pictures: Pictures) -> None:
    owner, ignored = assign(pictures, 7)
    for picture in range(len(pictures)):
        for patch in range(49):
            x, y = (patch % 7 + 0.5) / 7, (patch // 7 + 0.5) / 7
            best, nearest, hidden = -1, 1.0, False
            told = pictures.boxes[picture].tolist(), pictures.visible[picture].tolist()
            for at, (box, seen) in enumerate(zip(*told, strict=True)):
                far = [
                    abs(place - (low + high) / 2) / max(CENTRAL * (high - low), NEAR / 7)
                    for place, low, high in ((x, box[0], box[2]), (y, box[1], box[3]))
                ]
                if seen >= LEAST_SEEN and max(far) <= nearest and (best < 0 or max(far) < nearest):
                    best, nearest = at, max(far)
                hidden |= 0 < seen < LEAST_SEEN and box[0] <= x <= box[2] and box[1] <= y <= box[3]
            assert int(owner[picture, patch]) == best
            assert bool(ignored[picture, patch]) == (hidden and best < 0)
    assert (owner >= 0).any(1).float().mean() > 0.8


def test_a_moved_picture_has_moved_boxes(pictures: Pictures) -> None:
    moved = shifted(pictures, torch.Generator().manual_seed(1))
    by = (moved.boxes - pictures.boxes)[..., :2] * 112
    inside = (pictures.boxes > 0.15).all(2) & (pictures.boxes < 0.85).all(2)
    assert inside.sum() > 5
    for picture, at in inside.nonzero().tolist():
        right, down = by[picture, at].round().int().tolist()
        x0, y0, x1, y1 = (pictures.boxes[picture, at] * 112).round().int().tolist()
        here = pictures.pixels[picture, :, y0:y1, x0:x1]
        there = moved.pixels[picture, :, y0 + down : y1 + down, x0 + right : x1 + right]
        assert torch.equal(here, there)
        assert moved.visible[picture, at] == pytest.approx(float(pictures.visible[picture, at]))


def test_a_recoloured_picture_tells_no_colour_and_the_others_are_as_they_were(
    pictures: Pictures,
) -> None:
    changed = recoloured(pictures, torch.Generator().manual_seed(0))
    untold = (changed.attributes[..., 0] == UNTOLD).all(1)
    assert 4 < untold.sum() < 20
    assert torch.equal(changed.pixels[~untold], pictures.pixels[~untold])
    assert torch.equal(changed.attributes[..., 1], pictures.attributes[..., 1])
    turned = [not torch.equal(a, b) for a, b in zip(changed.pixels, pictures.pixels, strict=True)]
    assert sum(turned) > 0.8 * untold.sum()


def test_it_learns_what_it_is_shown(pictures: Pictures) -> None:
    torch.manual_seed(0)
    source = VisionTower(SHAPE)
    for parameter in source.parameters():
        nn.init.normal_(parameter, std=0.05)
    made = begin(source, DetectorTraining("", layers=2, hidden=24))
    optimiser = torch.optim.AdamW(made.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        read = made.head(made.tower(pictures.pixels.float() / 128 - 1))
        loss = detection_loss(read, pictures, 7)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_it_begins_with_the_built_in_towers_first_layers() -> None:
    source = VisionTower(SHAPE)
    frozen = begin(source, DetectorTraining("", layers=1, frozen=True))
    assert torch.equal(frozen.tower.layer(0).up.weight, source.layer(0).up.weight)  # type: ignore[arg-type]
    assert torch.equal(frozen.tower.position, source.position)
    assert not any(parameter.requires_grad for parameter in frozen.tower.parameters())
    with pytest.raises(UsageError, match="layers 3; allowed: 1 to 2"):
        begin(source, DetectorTraining("", layers=3))
    with pytest.raises(UsageError, match="allowed: 1 or more of each"):
        DetectorTraining("", hidden=0)


@pytest.mark.parametrize("frozen", [True, False])
def test_what_it_writes_is_read(tmp_path: Path, frozen: bool) -> None:
    scores = train(
        DetectorTraining(
            str(tmp_path), seconds=0.2, pictures=4, batch=2, frozen=frozen, layers=1, hidden=8,
            held=2, workers=0,
        )
    )  # fmt: skip
    assert scores["loss"] > 0
    loaded = load_detector(str(tmp_path), device="cpu")
    assert loaded.places("square") == tuple(range(1, 144, 12))
    assert len(loaded.labels) == len(ATTRIBUTES[0]) * len(ATTRIBUTES[1])
