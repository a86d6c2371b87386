"""Batching on the GPU: pinned copies on a stream of their own, results as without them."""

from collections.abc import Callable, Iterator

import pytest
import torch

from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.earlygate.fused import FusedGate
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.reusevit.fused import FusedReuse
from engine.vision.reusevit.modules import ReuseConfig, ReuseModules
from engine.vision.reusevit.plain import serve
from engine.vision.reusevit.strategy import ReuseViT
from engine.vision.streaming.batcher import Batcher, StreamSource
from engine.vision.streaming.refresh import Refresh
from engine.vision.streaming.schedule import Schedule
from engine.vision.streaming.strategy import Chunk, Strategy, reuse_rate

CONFIG = VisionConfig(
    layers=4, width=256, heads=4, mlp=1024, patch=16, image_size=128, dimension=64
)


def make_tower() -> VisionTower:
    torch.manual_seed(0)
    tower = VisionTower(CONFIG).eval().requires_grad_(False)
    for name, parameter in tower.named_parameters():
        if "norm" not in name and not name.startswith(("pre.", "post.")):
            torch.nn.init.normal_(parameter, std=0.05)
    return tower.to("cuda", torch.bfloat16)


def make_gate(tower: VisionTower) -> Strategy:
    limits = FixedLimits.uniform(CONFIG, 0.3)
    return EarlyGate(tower, limits, Refresh(cut=1.0), fused=FusedGate(tower, limits, 4))


def make_reuse(tower: VisionTower) -> Strategy:
    parts = ReuseModules(CONFIG, ReuseConfig(narrow=16, hidden=32, cue="none"))
    for parameter in parts.parameters():
        torch.nn.init.normal_(parameter, std=0.5 * parameter.shape[-1] ** -0.5)
    reuse = ReuseViT(tower, parts, schedule=Schedule(16))
    reuse.stepper = FusedReuse(tower, serve(parts, tower), streams=4)
    return reuse


@pytest.mark.gpu
@pytest.mark.parametrize("make", [make_gate, make_reuse])
@pytest.mark.parametrize("there", [False, True])
def test_lanes_and_company_change_nothing(
    make: Callable[[VisionTower], Strategy], there: bool
) -> None:
    """Wherever the frames lie before."""
    strategy = make(make_tower())
    still = torch.randint(256, (7, 3, 128, 128), dtype=torch.uint8)
    lengths = (33, 5, 18, 1, 40, 9, 26)
    clips = [still[at].repeat(length, 1, 1, 1) for at, length in enumerate(lengths)]
    for clip in clips:
        clip[:, :, :32] = torch.randint(256, (len(clip), 3, 32, 128), dtype=torch.uint8)
    alone = [strategy.encode([Chunk(clip, last=True)])[0] for clip in clips]
    assert 0 < torch.cat([reuse_rate(each, strategy.tower) for each in alone]).mean() < 1
    if there:
        clips = [clip.cuda() for clip in clips]
    parts: dict[int, list[torch.Tensor]] = {at: [] for at in range(len(clips))}
    for part in Batcher(strategy, lanes=6, frames=12).run(sources(clips)):
        parts[part.key].append(part.encoded.embeddings)
    for at, expected in enumerate(alone):
        assert torch.equal(torch.cat(parts[at]), expected.embeddings)
    whole = Batcher(strategy, lanes=6, frames=12).whole(sources(clips))
    for at, encoded in (each for ended in whole for each in ended):
        assert not encoded.embeddings.is_cuda
        assert torch.equal(encoded.embeddings, alone[at].embeddings.float().cpu())
        for name in ("computed", "macs", "full"):
            assert torch.equal(getattr(encoded, name), getattr(alone[at], name).cpu())


def sources(clips: list[torch.Tensor]) -> Iterator[StreamSource[int]]:
    for at, clip in enumerate(clips):
        yield StreamSource(at, [Chunk(part) for part in clip.split(7)])
