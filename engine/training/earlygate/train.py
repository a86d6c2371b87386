"""Learn the early gate's limits by distillation from the frozen tower."""

import csv
import logging
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from engine.errors import UsageError
from engine.training.earlygate.soft import SoftLimits, bridge_soft, clip_slots, encode_soft
from engine.training.reusevit.frames import FrameSource
from engine.vision.backbone.tower import VisionTower
from engine.vision.earlygate.bridge import Bridge
from engine.vision.earlygate.learned import LearnedLimits
from engine.vision.streaming.cuts import sketch

logger = logging.getLogger(__name__)
COLUMNS = ("step", "loss", "drift", "worst", "reuse", "seconds")


@dataclass(frozen=True, slots=True)
class GateTraining:
    """Settings of a run."""

    steps: int = 4000
    batch: int = 24  # clips
    groups: int = 3  # of four frames, after the full one
    compared: int = 64  # width of what is compared
    threshold: float = 0.2  # to begin with
    price: float = 0.1  # drift that a fully computed frame is worth
    tail: float = 0.25  # weight of each clip's worst frame against the mean
    rate: float = 2e-2  # of the limits; a third of it for what is compared
    heat: tuple[float, float] = (0.5, 0.2)  # of the gates' gradient, first step to last
    gates: tuple[int, ...] = (1,)  # layers that have one: later ones found nothing more to reuse
    bridge: Bridge = field(default_factory=lambda: Bridge(0.04, 0.4))  # frames left out
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
    limits = SoftLimits(
        shape.layers, shape.width, config.compared, config.threshold, config.gates
    ).to(tower.device)
    groups: list[dict[str, Any]] = [
        {"params": [limits.projection], "lr": config.rate / 3},
        {"params": [limits.weight, limits.bias, limits.threshold]},
    ]
    optimizer = Adam(groups, config.rate, betas=(0.9, 0.98))
    schedule = LambdaLR(optimizer, partial(_share, steps=config.steps))
    learner = _Learner(tower, limits, config)
    started = time.perf_counter()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for step, pixels in enumerate(_clips(source, config), 1):
            first, last = config.heat
            figures = learner.gradients(pixels, first + (last - first) * step / config.steps)
            clip_grad_norm_(limits.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            ended = step == config.steps
            if step % 10 == 0 or ended:
                row, seconds = figures.tolist(), time.perf_counter() - started
                writer.writerow([step, *(round(value, 5) for value in row), round(seconds, 1)])
                file.flush()
            if ended:
                break
    logger.info(
        "%d steps in %.0f s: loss %.4f, drift %.4f, worst %.4f, reuse %.3f", step, seconds, *row
    )
    return limits.hard()


def _share(step: int, steps: int) -> float:
    """Share of the rate at a step: up within a fiftieth of them, then down along a cosine."""
    done = step / steps
    return min(1.0, 50 * (step + 1) / steps) * 0.5 * (1 + math.cos(math.pi * done))


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


class _Learner:
    """Loss and gradients of a batch; captured once on a GPU: a step is thousands of kernels."""

    def __init__(self, tower: VisionTower, limits: SoftLimits, config: GateTraining) -> None:
        self.tower, self.limits, self.config = tower, limits, config
        size = tower.config.image_size
        shape = (config.batch, config.span, 3, size, size)
        self.pixels = torch.zeros(shape, dtype=torch.uint8, device=tower.device)
        self.heat = torch.ones((), device=tower.device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.figures = torch.zeros(4, device=tower.device)

    def gradients(self, pixels: Tensor, heat: float) -> Tensor:
        """Leave the gradients at the limits; return loss, drift, worst frames' drift and reuse."""
        self.pixels.copy_(pixels)
        self.heat.fill_(heat)
        if self.tower.device.type != "cuda":
            self._run()
        elif self.graph is None:
            self._capture()
        if self.graph is not None:
            self.graph.replay()
        return self.figures

    def _capture(self) -> None:
        side = torch.cuda.Stream(self.tower.device)
        side.wait_stream(torch.cuda.current_stream(self.tower.device))
        with torch.cuda.stream(side):
            for _ in range(2):
                self._run()
        torch.cuda.current_stream(self.tower.device).wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        self.limits.zero_grad(set_to_none=True)
        with torch.cuda.graph(self.graph):
            self._run()

    def _run(self) -> None:
        slots, pixels, config = clip_slots(self.config.groups), self.pixels, self.config
        values = self.tower.normalise(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        with _precision(self.tower):
            with torch.no_grad():
                teacher = self.tower(values.flatten(0, 1)).unflatten(0, pixels.shape[:2])
            result = encode_soft(self.tower, self.limits, values, slots, self.heat)
        if config.bridge.limit > 0:
            sketches = sketch(pixels.flatten(0, 1), self.tower.config.patch)
            sketches = sketches.unflatten(0, pixels.shape[:2])
            result = bridge_soft(config.bridge, result, slots, sketches)
        exact = torch.stack([teacher[:, slot.frame] for slot in slots], 1)
        cosine = F.cosine_similarity(result.embeddings.float(), exact.float(), dim=-1)
        drift = 1 - cosine[:, 1:]
        mean, worst = drift.mean(), drift.amax(1).mean()
        active = result.active.float().mean()
        loss = mean + config.tail * worst + config.price * active
        self.limits.zero_grad(set_to_none=True)
        loss.backward()
        self.figures.copy_(torch.stack([loss, mean, worst, 1 - active]).detach())


def _precision(tower: VisionTower) -> AbstractContextManager[Any]:
    if tower.device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=False)
    return nullcontext()
