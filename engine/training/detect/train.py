"""Train a detector out of the built-in tower: made-up things, their kinds and their boxes."""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn

from engine.errors import UsageError
from engine.training.augment import spoil
from engine.training.detect.data import ATTRIBUTES, Pictures, recoloured, render_pictures
from engine.training.detect.export import export_detector
from engine.training.detect.loss import detection_loss
from engine.training.schedule import warm_cosine
from engine.vision.backbone.dense import DenseConfig, DenseDetector
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.backbone.windowed import WindowedConfig
from engine.vision.model import load_model

log = logging.getLogger(__name__)
HEAD_RATE, TOWER_RATE, WARMUP, DECAY = 1e-3, 3e-4, 0.05, 0.05
SHIFT = 12  # pixels that a picture is moved by at most, where the tower learns too


@dataclass(frozen=True, slots=True)
class DetectorTraining:
    """What is trained, on how much, for how long."""

    out: str
    seconds: float = 150.0  # of training, after the pictures are rendered; the schedule follows
    pictures: int = 40_000
    batch: int = 256
    frozen: bool = False  # learn the head alone, from tokens that are computed once
    layers: int = 8  # of the built-in tower that are kept
    hidden: int = 128
    held: int = 1000  # pictures of the `val` split, to report on
    seed: int = 0
    workers: int = 2
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.layers < 1 or self.hidden < 1:
            raise UsageError(
                f"layers {self.layers} and hidden {self.hidden}; allowed: 1 or more of each"
            )


def train(training: DetectorTraining) -> dict[str, float]:
    """Train, write the detector below `out`, and return its loss on held-out pictures."""
    torch.manual_seed(training.seed)
    device = torch.device(training.device)
    source = load_model("builtin", device="cpu", dtype=torch.float32).tower
    size = source.config.image_size
    pictures = _render("train", training.pictures, training.seed, size, training).to(device)
    detector = begin(source, training).to(device)
    generator = torch.Generator(device).manual_seed(training.seed)
    tokens = None
    if training.frozen:
        pictures = recoloured(pictures, generator)
        tokens = tokens_of(detector, source.config, pictures, generator)
    steps = _learn(training, detector, source.config, pictures, tokens, generator)
    detector = detector.float().eval()
    held = _render("val", training.held, training.seed + 1, size, training).to(device)
    scores = {"loss": held_loss(detector, source.config, held), "steps": float(steps)}
    folder = Path(training.out)
    export_detector(detector.cpu(), ATTRIBUTES, source.config, folder)
    told = {"training": asdict(training), "scores": scores}
    (folder / "training.json").write_text(json.dumps(told, indent=1) + "\n")
    return scores


def begin(source: VisionTower, training: DetectorTraining) -> DenseDetector:
    """A detector whose tower has a tower's patches, positions and first layers."""
    shape = source.config
    if not 1 <= training.layers <= shape.layers:
        raise UsageError(f"layers {training.layers}; allowed: 1 to {shape.layers}")
    config = WindowedConfig(
        layers=training.layers, width=shape.width, heads=shape.heads, mlp=shape.mlp,
        patch=shape.patch, side=shape.side, trained=shape.side, window=0, windowed=frozenset(),
        relative=False, activation=shape.activation, eps=shape.eps, pre_norm=shape.pre_norm,
    )  # fmt: skip
    sizes = tuple(map(len, ATTRIBUTES))
    made = DenseDetector(DenseConfig(config, training.hidden, sizes))
    own = made.tower.state_dict()
    given = {name: tensor for name, tensor in source.state_dict().items() if name in own}
    given["patch.bias"] = torch.zeros(shape.width)
    made.tower.load_state_dict(given)
    assert made.head.out.bias is not None
    nn.init.constant_(made.head.out.bias[:1], -3.0)  # most patches tell nothing
    made.tower.requires_grad_(not training.frozen)
    made.head.requires_grad_(True)
    return made


@torch.no_grad()
def tokens_of(
    detector: DenseDetector, shape: VisionConfig, pictures: Pictures, generator: torch.Generator
) -> Tensor:
    """The tower's tokens `[n, N, D]` of pictures that a camera and a codec have spoilt."""
    begun, made = perf_counter(), []
    for part in pictures.pixels.split(64):
        with _half(part.device):
            made.append(detector.tower(spoil(part, shape, generator).float()).bfloat16())
    log.info("%d pictures encoded in %.0f s", len(pictures), perf_counter() - begun)
    return torch.cat(made)


def _learn(
    training: DetectorTraining,
    detector: DenseDetector,
    shape: VisionConfig,
    pictures: Pictures,
    tokens: Tensor | None,
    generator: torch.Generator,
) -> int:
    """Train until the time is up; return the number of steps."""
    groups = [
        {"params": list(detector.head.parameters()), "peak": HEAD_RATE},
        {"params": [p for p in detector.tower.parameters() if p.requires_grad], "peak": TOWER_RATE},
    ]
    optimiser = torch.optim.AdamW([g for g in groups if g["params"]], weight_decay=DECAY)
    begun, steps = perf_counter(), 0
    while (done := (perf_counter() - begun) / training.seconds) < 1:
        for rows in _order(len(pictures), training.batch, generator):
            done = (perf_counter() - begun) / training.seconds
            if done >= 1:
                break
            for group in optimiser.param_groups:
                group["lr"] = warm_cosine(group["peak"], WARMUP, done)
            optimiser.zero_grad(set_to_none=True)
            taken = pictures.pick(rows)
            with _half(rows.device):
                if tokens is not None:
                    read = detector.head(tokens[rows].float())
                else:
                    taken = recoloured(shifted(taken, generator), generator)
                    values = spoil(taken.pixels, shape, generator).float()
                    read = detector.head(detector.tower(values))
            loss = detection_loss(read, taken, detector.config.tower.side)
            loss.backward()
            nn.utils.clip_grad_norm_(detector.parameters(), 5.0)
            optimiser.step()
            steps += 1
            if steps % 200 == 0:
                log.info("%d steps, loss %.3f", steps, float(loss.detach()))
    return steps


def shifted(pictures: Pictures, generator: torch.Generator) -> Pictures:
    """Move pictures by some pixels; what comes in at an edge repeats it."""
    batch, _, height, width = pictures.pixels.shape
    device = pictures.pixels.device
    by = torch.randint(-SHIFT, SHIFT + 1, (batch, 2), generator=generator, device=device)
    rows = (torch.arange(height, device=device) - by[:, 1:]).clamp(0, height - 1)
    columns = (torch.arange(width, device=device) - by[:, :1]).clamp(0, width - 1)
    at = torch.arange(batch, device=device)[:, None, None]
    pixels = pictures.pixels.permute(0, 2, 3, 1)[at, rows[:, :, None], columns[:, None]]
    moved = by.float() / width
    boxes = (pictures.boxes + moved.repeat(1, 2)[:, None]).clamp(0, 1)
    before = (pictures.boxes[..., 2:] - pictures.boxes[..., :2]).prod(-1)
    left = (boxes[..., 2:] - boxes[..., :2]).prod(-1) / before.clamp(min=1e-9)
    return Pictures(pixels.permute(0, 3, 1, 2), boxes, pictures.attributes, pictures.visible * left)


@torch.no_grad()
def held_loss(detector: DenseDetector, shape: VisionConfig, held: Pictures) -> float:
    """Mean loss of held-out pictures, as they are."""
    total, mean, std = 0.0, *torch.tensor([shape.mean, shape.std], device=held.pixels.device)
    for rows in torch.arange(len(held), device=held.pixels.device).split(64):
        part = held.pick(rows)
        values = (part.pixels.float() / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        read = detector.head(detector.tower(values))
        total += float(detection_loss(read, part, detector.config.tower.side)) * len(rows)
    return total / max(1, len(held))


def _order(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    device = generator.device
    return iter(torch.randperm(count, generator=generator, device=device).split(size))


def _half(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16)


def _render(split: str, count: int, seed: int, size: int, training: DetectorTraining) -> Pictures:
    begun = perf_counter()
    made = render_pictures(split, count, seed, size=size, workers=training.workers)  # type: ignore[arg-type]
    log.info("%d %s pictures rendered in %.0f s", count, split, perf_counter() - begun)
    return made
