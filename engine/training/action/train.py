"""Train a video classifier from nothing: motions of the made-up world, from pixels alone."""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.errors import UsageError, unknown
from engine.training.action.data import MOTIONS, batches, render_pool
from engine.training.action.export import export_action
from engine.training.action.merged import merging, score_merged
from engine.training.schedule import warm_cosine
from engine.vision.backbone.video import VideoConfig, VideoTower, sine_positions
from engine.vision.runlength.joint import BUDGET, RunLengthVideo, packs
from engine.vision.runlength.mask import THRESHOLD, begins_run
from engine.world.action import LABELS
from engine.world.splits import Split

log = logging.getLogger(__name__)
RATE, WARMUP, DECAY = 1e-3, 0.05, 0.05
TOKENS = ("all", "runlength", "random", "merged")


@dataclass(frozen=True, slots=True)
class ActionTraining:
    """What is trained, on how much, for how long."""

    out: str
    seconds: float = 420.0  # of training, after the clips are rendered; the schedule follows
    clips: int = 6000
    batch: int = 128
    held: int = 600  # clips of the `val` split, to report on
    seed: int = 0
    workers: int = 2
    device: str = "cpu"
    frames: int = 8
    fps: float = 4.0
    size: int = 64
    tokens: str = "all"  # of each clip: all, those that begin a run, some at random, or merged
    threshold: float = THRESHOLD  # of change, from which a token begins a run
    keep: float = 0.5  # share of the tokens that is kept at random, or left by merging

    def __post_init__(self) -> None:
        if self.tokens not in TOKENS:
            raise UsageError(unknown("tokens", self.tokens, TOKENS))
        if not 0 < self.keep <= 1:
            raise UsageError(f"keep {self.keep:g}; allowed: above 0, at most 1")


def shape_of(training: ActionTraining) -> VideoConfig:
    """The shape that ships: 1.3 million weights."""
    return VideoConfig(
        layers=6, width=128, heads=4, mlp=512, patch=8, tubelet=2, image_size=training.size,
        num_frames=training.frames, classes=len(MOTIONS), eps=1e-6,
    )  # fmt: skip


def train(training: ActionTraining) -> dict[str, float]:
    """Train, write the model below `out`, and return what it scores on held-out clips."""
    torch.manual_seed(training.seed)
    device = torch.device(training.device)
    clips, motions = _pool("train", training.clips, training.seed, training)
    tower = _begin(training).to(device)
    clips, motions = clips.to(device), motions.to(device)
    optimiser = torch.optim.AdamW(
        [p for p in tower.parameters() if p.requires_grad], lr=RATE, weight_decay=DECAY
    )
    generator = torch.Generator().manual_seed(training.seed)
    begun, steps = perf_counter(), 0
    while (done := (perf_counter() - begun) / training.seconds) < 1:
        for taken, meant in batches(clips, motions, training.batch, generator):
            done = (perf_counter() - begun) / training.seconds
            if done >= 1:
                break
            for group in optimiser.param_groups:
                group["lr"] = warm_cosine(RATE, WARMUP, done)
            optimiser.zero_grad()
            loss = learn(tower, _lit(taken, generator), meant, training, generator)
            nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
            optimiser.step()
            steps += 1
        log.info("%d steps, loss %.3f", steps, loss)
    tower = tower.float().cpu().eval()
    folder = Path(training.out)
    export_action(tower, tuple(LABELS.values()), training.fps, folder)
    held, meant = _pool("val", training.held, training.seed + 1, training)
    scores = score(tower, held, meant) | {"steps": float(steps)}
    told = {"training": asdict(training), "scores": scores}
    (folder / "training.json").write_text(json.dumps(told, indent=1) + "\n")
    return scores


def learn(
    tower: VideoTower,
    clips: Tensor,
    motions: Tensor,
    training: ActionTraining,
    generator: torch.Generator,
) -> float:
    """Add the gradient of the mean loss of clips, and return it.

    Clips of fewer tokens are packed, so many at once as a budget of tokens allows.
    """
    half = torch.autocast(clips.device.type, torch.bfloat16, enabled=clips.is_cuda)
    parts = [slice(0, len(clips))]
    kept = choose_tokens(clips, tower.config, training, generator)
    if kept is not None:
        parts = list(packs(kept.flatten(1).sum(1).tolist(), BUDGET))
    total = 0.0
    for part in parts:
        with half:
            if training.tokens == "merged":
                rule = merging(tower.config, training.keep)
                scores = score_merged(tower, clips[part], rule)
            elif kept is None:
                scores = tower(tower.normalise(clips[part]))
            else:
                scores = RunLengthVideo(tower).score(clips[part], kept[part])
        losses = F.cross_entropy(
            scores.float(), motions[part], label_smoothing=0.1, reduction="sum"
        )
        loss = losses / len(clips)
        loss.backward()
        total += float(loss.detach())
    return total


def choose_tokens(
    clips: Tensor, config: VideoConfig, training: ActionTraining, generator: torch.Generator
) -> Tensor | None:
    """Which tokens of clips are embedded, bool `[B, steps, rows, columns]`; None: all.

    At random as many of each clip are.
    """
    if training.tokens in ("all", "merged"):
        return None
    if training.tokens == "runlength":
        return begins_run(
            clips, tubelet=config.tubelet, patch=config.patch, threshold=training.threshold
        )
    drawn = torch.rand(len(clips), config.places, generator=generator)
    chosen = drawn.argsort(1) < max(1, round(training.keep * config.places))
    return chosen.view(len(clips), config.steps, config.side, config.side).to(clips.device)


@torch.inference_mode()
def score(tower: VideoTower, clips: Tensor, motions: Tensor) -> dict[str, float]:
    """Share of clips whose likeliest label is theirs, of all and of each motion."""
    parts = [tower(tower.normalise(part)).argmax(1).cpu() for part in clips.split(64)]
    right = (torch.cat(parts) == motions.cpu()).double()
    told = {"top1": float(right.mean())}
    for at, name in enumerate(MOTIONS):
        if (those := motions.cpu() == at).any():
            told[name] = float(right[those].mean())
    return told


def _begin(training: ActionTraining) -> VideoTower:
    tower = VideoTower(shape_of(training))
    for module in tower.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
    tower.position.data = sine_positions(tower.config.tokens, tower.config.width)
    tower.position.requires_grad_(False)
    return tower


def _pool(split: Split, clips: int, seed: int, training: ActionTraining) -> tuple[Tensor, Tensor]:
    begun = perf_counter()
    pixels, motions = render_pool(
        split, clips, seed, frames=training.frames, fps=training.fps, size=training.size,
        workers=training.workers,
    )  # fmt: skip
    log.info("%d %s clips rendered in %.0f s", clips, split, perf_counter() - begun)
    return torch.from_numpy(pixels), torch.from_numpy(motions)


def _lit(clips: Tensor, generator: torch.Generator) -> Tensor:
    """Change each clip's light and contrast a little."""
    gain, shift = torch.rand(2, len(clips), 1, 1, 1, 1, generator=generator).to(clips.device)
    values = clips.float() * (0.8 + 0.4 * gain) + 40 * (shift - 0.5)
    return values.clamp(0, 255).to(torch.uint8)
