"""What is timed on a GPU: towers of the usual shapes, noise to encode, and steps of entries."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.streaming.schedule import GROUP, ORDER

TOWERS = {
    "L/14": VisionConfig(24, 1024, 16, 4096, 14, 224, 768),
    "B/16": VisionConfig(12, 768, 12, 3072, 16, 224, 512),
    "Ti/16": VisionConfig(12, 192, 3, 768, 16, 224, 256),  # the built-in model's
}
FORCED, LIVE = "forced", "live"


@dataclass(frozen=True, slots=True)
class TimedEntry:
    """One way to encode, ready to be timed: a step that encodes `frames` frames, and its counts."""

    name: str
    step: Callable[[], object]
    frames: int
    macs: float  # multiply-accumulates of one frame
    rate: float | None = None  # tokens reused, of those that may be
    state_bytes: int | None = None  # kept of one stream between steps
    kernels: bool = False  # whether its kernels are listed
    holds: str = "all tokens"  # what a step does besides the tower's own work, and how it decides
    kept: float | None = None  # share of the token rows that layers compute; None: by the rate

    @property
    def rows(self) -> float:
        """Share of the token rows that layers compute."""
        return 1 - (self.rate or 0.0) if self.kept is None else self.kept

    @property
    def label(self) -> str:
        """Name and rate."""
        return self.name if self.rate is None else f"{self.name} at {self.rate}"


@dataclass(frozen=True, slots=True)
class TimedSetting:
    """What all entries share."""

    tower: VisionTower
    streams: int
    rates: tuple[float, ...]


def random_tower(config: VisionConfig, device: torch.device) -> VisionTower:
    """Build a tower in bfloat16 whose random weights keep activations in the usual range."""
    torch.manual_seed(0)
    tower = VisionTower(config).to(device)
    for module in tower.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    nn.init.normal_(tower.position, std=0.1)
    nn.init.normal_(tower.class_token, std=0.1)
    return tower.to(torch.bfloat16).eval().requires_grad_(False)


def random_pixels(tower: VisionTower, frames: int) -> Tensor:
    """Noise `[F, 3, S, S]`, for no kernel's time depends on what it shows."""
    size = tower.config.image_size
    shape = (frames, 3, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, device=tower.device)


def moving_pixels(tower: VisionTower, streams: int, frames: int, share: float) -> list[Tensor]:
    """Pictures `[streams, 3, S, S]` of noise, so many of whose patches are new each time.

    They go round: also from the last to the first so many change.
    """
    config, device = tower.config, tower.device
    changes = []
    for _ in range(frames):
        new = torch.rand(streams, 1, config.side, config.side, device=device) < share
        new = new.repeat_interleave(config.patch, 2).repeat_interleave(config.patch, 3)
        changes.append((new, random_pixels(tower, streams)))
    shown = [random_pixels(tower, streams)]
    for new, noise in changes + changes:
        shown.append(torch.where(new, noise, shown[-1]))
    return shown[-frames:]


def in_groups(pictures: list[Tensor]) -> list[Tensor]:
    """Groups of four frames of every stream, slot by slot as they are encoded: `[4 B, …]` each."""
    starts = range(0, len(pictures), GROUP)
    return [torch.cat([pictures[start + at] for at in ORDER[GROUP]]) for start in starts]


def meet(wanted: float, low: float, high: float, found: Callable[[float], float]) -> float:
    """Find by halving where a rate that rises with its argument is `wanted`."""
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if found(middle) < wanted else (low, middle)
    return high
