"""Learn the early gate's limits by distillation from the frozen tower."""

import csv
import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from engine.errors import UsageError
from engine.vision.gate.learned import LearnedLimits
from engine.vision.tower import VisionTower
from engine.vision.training.gate.soft import SoftLimits, clip_slots, encode_soft
from engine.vision.training.reuse.frames import FrameSource

logger = logging.getLogger(__name__)
COLUMNS = ("step", "loss", "drift", "worst", "reuse", "seconds")


@dataclass(frozen=True, slots=True)
class GateTraining:
    """Settings of a run."""

    steps: int = 2000
    batch: int = 16  # clips
    groups: int = 3  # of four frames, after the full one
    compared: int = 32  # width of what is compared
    threshold: float = 0.2  # to begin with
    price: float = 0.03  # drift that a fully computed frame is worth
    tail: float = 0.5  # weight of each clip's worst frame against the mean
    rate: float = 3e-3
    heat: tuple[float, float] = (0.5, 0.15)  # of the gates' gradient, first step to last
    seconds: float | None = None  # stop after so long, with the learning rate run down
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "groups", "compared"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def span(self) -> int:
        """Frames of a clip."""
        return 1 + 4 * self.groups


def train_gate(
    tower: VisionTower, config: GateTraining, source: FrameSource, log: Path
) -> LearnedLimits:
    """Train on clips of the source; the log gets a line every ten steps."""
    torch.manual_seed(config.seed)
    tower = tower.requires_grad_(False).eval()
    shape = tower.config
    limits = SoftLimits(shape.layers, shape.width, config.compared, config.threshold)
    limits = limits.to(tower.device)
    optimizer = AdamW(limits.parameters(), config.rate, weight_decay=0.0)
    schedule = OneCycleLR(optimizer, config.rate, config.steps, pct_start=0.1)
    started = time.perf_counter()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for step, pixels in enumerate(_clips(source, config), 1):
            first, last = config.heat
            heat = first + (last - first) * step / config.steps
            row = _train_step(tower, limits, config, pixels, optimizer, heat)
            schedule.step()
            seconds = time.perf_counter() - started
            if step % 10 == 0 or step == config.steps:
                writer.writerow([step, *(round(value, 5) for value in row), round(seconds, 1)])
                file.flush()
            if step == config.steps or (config.seconds and seconds > config.seconds):
                break
    logger.info(
        "%d steps in %.0f s: loss %.4f, drift %.4f, worst %.4f, reuse %.3f", step, seconds, *row
    )
    return limits.hard()


def _clips(source: FrameSource, config: GateTraining) -> Iterator[Tensor]:
    """Batches uint8 `[B, F, 3, S, S]`, epoch after epoch."""
    epoch, waiting = 0, []
    while True:
        for window in source.windows(config.span, epoch):
            waiting.append(window.pixels)
            if len(waiting) == config.batch:
                yield torch.stack(waiting)
                waiting = []
        epoch += 1


def _train_step(
    tower: VisionTower,
    limits: SoftLimits,
    config: GateTraining,
    pixels: Tensor,
    optimizer: AdamW,
    heat: float,
) -> list[float]:
    """Take one step; return loss, drift, drift of the worst frames, and reuse."""
    slots = clip_slots(config.groups)
    values = tower.normalise(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
    with _precision(tower):
        with torch.no_grad():
            teacher = tower(values.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        result = encode_soft(tower, limits, values, slots, heat)
    order = [slot.frame for slot in slots]
    drift = 1 - F.cosine_similarity(result.embeddings.float(), teacher[:, order].float(), dim=-1)
    drift = drift[:, 1:]
    mean, worst = drift.mean(), drift.amax(1).mean()
    active = result.active.float().mean()
    loss = mean + config.tail * worst + config.price * active
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    clip_grad_norm_(limits.parameters(), 1.0)
    optimizer.step()
    return torch.stack([loss, mean, worst, 1 - active]).detach().tolist()


def _precision(tower: VisionTower) -> AbstractContextManager[Any]:
    if tower.device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()
