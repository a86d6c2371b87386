"""Work on several processes: every stretch once, the same vectors however many there are."""

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
import torch

from engine.errors import ExecutionError, UsageError
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.streaming.parallel import RemoteStream, Room, encode_parallel
from engine.vision.streaming.refresh import Refresh
from engine.vision.streaming.strategy import Chunk

TINY = VisionConfig(layers=3, width=32, heads=2, mlp=64, patch=8, image_size=16, dimension=8)


def build(device: torch.device) -> EarlyGate:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tower = VisionTower(TINY).eval().requires_grad_(False)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return EarlyGate(tower.to(device), FixedLimits.uniform(TINY, 0.5), Refresh(cut=1.0))


@dataclass(frozen=True)
class Clip:
    """Noise from a seed, made where it is needed."""

    seed: int
    frames: int

    def __call__(self, _device: torch.device) -> Iterable[Chunk]:
        if self.frames < 0:
            raise OSError("no such clip")
        source = torch.Generator().manual_seed(self.seed)
        shape = (self.frames, 3, 16, 16)
        return [Chunk(torch.randint(256, shape, dtype=torch.uint8, generator=source))]


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing() -> None:
    clips = [Clip(seed, frames) for seed, frames in enumerate((5, 12, 1, 9, 3))]
    gate = build(torch.device("cpu"))
    expected = [
        gate.encode([Chunk(clip(torch.device("cpu"))[0].pixels, last=True)])[0]  # type: ignore[index]
        for clip in clips
    ]
    stretches = (RemoteStream(at, clip, clip.frames) for at, clip in enumerate(clips))
    found = list(encode_parallel(build, stretches, ["cpu", "cpu"], Room(lanes=2, frames=4)))
    assert sorted(finished.key for finished in found) == list(range(len(clips)))
    for finished in found:
        given = torch.from_numpy(finished.embeddings)
        torch.testing.assert_close(given, expected[finished.key].embeddings)


@pytest.mark.slow
def test_a_worker_that_fails_says_why() -> None:
    with pytest.raises(ExecutionError, match="no such clip"):
        list(encode_parallel(build, [RemoteStream("a", Clip(0, -1))], ["cpu"], Room(1, 4)))


def test_a_device_is_needed() -> None:
    with pytest.raises(UsageError, match="devices"):
        next(encode_parallel(build, [], []))
