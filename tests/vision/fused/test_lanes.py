"""Streams side by side, one frame of each at a time."""

import pytest
import torch

from engine.errors import UsageError
from engine.vision.backbone.tower import VisionConfig
from engine.vision.fused.lanes import Lanes, fitting_lanes
from tests.vision.fused.test_dense import make_tower

LARGE = VisionConfig(24, 1024, 16, 4096, 14, 224, 768)


def make_streams(
    config: VisionConfig, counts: tuple[int, ...], device: str = "cpu"
) -> list[torch.Tensor]:
    """Frames of streams, each a noisy picture of which every frame changes a part."""
    torch.manual_seed(3)
    shape, streams = (3, config.image_size, config.image_size), []
    for count in counts:
        base = torch.randint(0, 256, shape, dtype=torch.uint8)
        frames = base.repeat(count, 1, 1, 1)
        for frame in frames:
            top = int(torch.randint(0, config.side // 2, ())) * config.patch
            part = frame[:, top : top + config.image_size // 2]
            part.copy_(torch.randint(0, 256, part.shape, dtype=torch.uint8))
        streams.append(frames.to(device))
    return streams


def test_frames_lie_at_their_streams_places() -> None:
    config = VisionConfig(1, 16, 1, 32, 4, 8, 8)
    tower, [frames] = make_tower(config), make_streams(config, (2,))
    lanes = Lanes(tower, 4)
    places, full = torch.tensor([1, 3]).numpy(), torch.tensor([True, False]).numpy()
    assert lanes.put(places, full, frames).tolist() == [1, 3]
    present = lanes.begin(4)
    assert present.there.tolist() == [0, 1, 0, 1]
    assert present.full.tolist() == [0, 1, 0, 0]
    assert present.starts.tolist() == [-1, 5, -1, 15]
    assert present.rows[:10].tolist() == [*range(5, 10), *range(15, 20)]
    expected = tower.embed(tower.normalise(frames))
    torch.testing.assert_close(lanes.h.view(4, 5, 16)[[1, 3]], expected, rtol=1e-5, atol=1e-5)
    assert (lanes.h.view(4, 5, 16)[[0, 2]] == 0).all()


def test_more_streams_than_there_is_room_for_are_refused() -> None:
    lanes = Lanes(make_tower(VisionConfig(1, 16, 1, 32, 4, 8, 8)), 2)
    with pytest.raises(UsageError, match="at most 2 streams, got 3"):
        lanes.check(3)


def test_room_follows_from_memory() -> None:
    kept = 8 * LARGE.layers * LARGE.width
    assert fitting_lanes(LARGE, 141 * 10**9, kept) == 256
    assert 1 <= fitting_lanes(LARGE, 4 * 10**9, kept) < 256
