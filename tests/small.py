"""A small random tower, its reuse modules, and frames that change a little."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.reusevit.modules import ReuseConfig, ReuseModules


class Small:
    """Makes the small things that tests of reuse work on."""

    def config(self, *, class_token: bool = True, layers: int = 4) -> VisionConfig:
        return VisionConfig(
            layers=layers,
            width=32,
            heads=4,
            mlp=64,
            patch=8,
            image_size=32,
            dimension=16,
            class_token=class_token,
            pre_norm=class_token,
            projection=class_token,
        )

    def tower(self, config: VisionConfig | None = None, seed: int = 0) -> VisionTower:
        generator = torch.Generator().manual_seed(seed)
        tower = VisionTower(config or self.config())
        for parameter in tower.parameters():
            nn.init.normal_(parameter, std=0.25, generator=generator)
        return tower.requires_grad_(False).eval()

    def modules(self, config: VisionConfig | None = None, **settings: Any) -> ReuseModules:
        """Parts that reuse about half of the tokens, decided by all of their features."""
        modules = ReuseModules(config or self.config(), ReuseConfig(**{"narrow": 8, **settings}))
        generator = torch.Generator().manual_seed(0)
        for parameter in modules.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)
        with torch.no_grad():
            for index in range(len(modules.gates)):
                first = modules.gate(index).decision.net[0]
                assert isinstance(first, nn.Linear)
                first.weight[:, :3] *= torch.tensor([3.0, 8.0, 3.0])
                # the units bend where similarities and importances lie
                first.bias.copy_(-0.8 * first.weight[:, 1] - 0.3 * first.weight[:, 0])
        return modules.eval()

    def frames(self, streams: int, frames: int, *, change: float = 0.3, seed: int = 0) -> Tensor:
        """Frames uint8 `[B, F, 3, 32, 32]`: one picture, and so much of another in each."""
        generator = torch.Generator().manual_seed(seed)
        shape = (streams, frames, 3, 32, 32)
        noise = torch.randint(0, 256, shape, generator=generator).float()
        return (noise[:, :1] * (1 - change) + noise * change).to(torch.uint8)


@pytest.fixture
def small() -> Small:
    return Small()
