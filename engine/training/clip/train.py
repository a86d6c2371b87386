"""Train the built-in model: a small CLIP that knows the made-up world."""

import csv
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.training.augment import spoil
from engine.training.clip.data import FRAMES, SETS, SPREAD, WorldBatch, WorldRecipe
from engine.training.clip.export import save_clip
from engine.training.clip.loss import ClipLosses, choice_loss, contrast, patch_loss, time_loss
from engine.training.clip.score import score
from engine.training.clip.towers import (
    CONTEXT,
    Towers,
    embed_frames,
    embed_ids,
    make_towers,
    run_layer,
)
from engine.training.ring import Ring
from engine.training.schedule import warm_cosine
from engine.training.texts import encode
from engine.world import Split
from engine.world.labels import KINDS
from engine.world.phrases import PHRASES

WHOLE, MOMENT, CHOICE = 80, 48, 24  # tokens that the longest captions, moments and choices need
SCORED: dict[Split, int] = {"train": 300, "val": 500, "test": 1000}  # clips of each pool
COLUMNS = (
    "step", "seconds", "rendered", "rate", "scale",
    "caption", "moment", "choice", "time", "patch", "accuracy",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClipTraining:
    """One run; `start` continues from a saved model's weights, with fresh optimizer state."""

    out: str
    seconds: float = 420.0  # of training; the schedule follows the clock
    seed: int = 0
    start: str | None = None
    clips: int = 512  # of one step
    ring: int = 32768  # clips kept on the device
    workers: int = 15
    chunk: int = 32  # clips that a worker hands over at once
    rate: float = 1e-3
    warmup: float = 0.03  # share of the run
    decay: float = 0.1
    drop: float = 0.5  # share of patches left out of each frame at first
    drop_until: float = 0.35  # share of the run
    frozen: bool = False  # train the text tower alone; stored embeddings of frames stay valid
    device: str = "cuda"
    scored: int = 1000  # clips of a pool at most, when the result is scored
    layers: int = 12
    text_layers: int = 4


def train(config: ClipTraining) -> dict[str, Any]:
    """Train, save the model, the log and the scores under `out`, and return the scores."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    out, device = Path(config.out), torch.device(config.device)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    torch.set_float32_matmul_precision("high")
    towers = make_towers(config.start, device, layers=config.layers, text_layers=config.text_layers)
    size = towers.vision.config.image_size
    ring = Ring(config.ring, WorldRecipe(towers.tokenizer.to_str(), size, CONTEXT), device)
    ring.start(config.workers, config.chunk, (config.seed + 1) << 32)
    try:
        ring.fill(4 * config.clips)
        steps = _run(config, towers, ring, out)
    finally:
        ring.close()
    return _finish(config, towers, out, {"steps": steps, "clips rendered": ring.rendered})


def _run(config: ClipTraining, towers: Towers, ring: Ring, out: Path) -> int:
    """Train until the time is up; return the number of steps."""
    device = towers.vision.device
    optimizer = _optimizer(config, towers)
    layer = torch.compile(run_layer, dynamic=False) if device.type == "cuda" else run_layer
    shuffle = torch.Generator().manual_seed(config.seed)
    noise = torch.Generator(device).manual_seed(config.seed)
    frozen = FrozenFrames(towers, ring, noise) if config.frozen else None
    towers.vision.requires_grad_(not config.frozen)
    began = saved = time.monotonic()
    step = 0
    with (out / "log.csv").open("w", newline="") as file:
        log = csv.writer(file)
        log.writerow(
            [
                "step",
                "seconds",
                "rendered",
                "rate",
                "scale",
                "caption",
                "moment",
                "choice",
                "time",
                "accuracy",
            ]
        )
        while (done := (time.monotonic() - began) / config.seconds) < 1:
            rate = warm_cosine(config.rate, config.warmup, done)
            for group in optimizer.param_groups:
                group["lr"] = rate
            patches = towers.vision.config.tokens - 1
            kept = round(patches * (1 - config.drop)) if done < config.drop_until else patches
            if frozen is not None and step % 50 == 0:
                frozen.follow()
            with torch.autocast(device.type, torch.bfloat16):
                if frozen is None:
                    batch = WorldBatch(*ring.draw(config.clips, shuffle))
                    losses = _losses(towers, batch, noise, kept, layer)
                else:
                    losses = frozen.losses(config.clips, shuffle)
            optimizer.zero_grad(set_to_none=True)
            losses.total.backward()
            nn.utils.clip_grad_norm_(towers.parameters(), 1.0)
            optimizer.step()
            towers.scale.data.clamp_(max=math.log(100))
            step += 1
            if step % 20 == 0:
                log.writerow(_row(step, time.monotonic() - began, ring, rate, towers, losses))
                file.flush()
            if time.monotonic() - saved > 60:
                saved = time.monotonic()
                _save(out, towers)
    return step


def _optimizer(config: ClipTraining, towers: Towers) -> torch.optim.Optimizer:
    flat = [parameter for parameter in towers.parameters() if parameter.ndim < 2]
    full = [parameter for parameter in towers.parameters() if parameter.ndim >= 2]
    groups = [{"params": full, "weight_decay": config.decay}, {"params": flat, "weight_decay": 0.0}]
    cuda = towers.vision.device.type == "cuda"
    return torch.optim.AdamW(groups, lr=config.rate, betas=(0.9, 0.98), eps=1e-8, fused=cuda)


def _losses(
    towers: Towers, batch: WorldBatch, noise: torch.Generator, kept: int, layer: Any
) -> ClipLosses:
    """Return the losses of one step for both towers."""
    seen = embed_frames(
        towers.vision, spoil(batch.pixels.flatten(0, 1), towers.vision.config, noise), kept, layer
    )
    frames = seen.embeddings.view(len(batch.pixels), FRAMES, -1)
    labels = batch.labels.flatten(0, 1)  # [B * F, kinds, N]
    places = seen.places[:, None].expand(-1, len(KINDS), -1)
    with torch.autocast(frames.device.type, enabled=False):
        logits = towers.probe(seen.patches.float())
        patch = patch_loss(logits, labels.gather(2, places), tuple(KINDS.values()))
    return text_losses(towers, frames, batch, noise, layer, patch)


def text_losses(
    towers: Towers,
    frames: Tensor,
    batch: WorldBatch,
    noise: torch.Generator,
    layer: Any,
    patch: Tensor,
) -> ClipLosses:
    """Return the losses of one step, from the frames' unit embeddings `[B, FRAMES, E]`."""
    clips, device = len(frames), frames.device
    rows = torch.arange(clips, device=device)
    moment = torch.randint(FRAMES, (clips,), device=device, generator=noise)
    ids = batch.ids.long()
    captions = embed_ids(towers.text, ids[:, 0, :WHOLE], layer)
    moments = embed_ids(towers.text, ids[rows, 1 + moment, :MOMENT], layer)
    sets = ids[:, 1 + FRAMES :, :CHOICE].flatten(0, 1)
    choices = embed_ids(towers.text, sets, layer).view(clips * SETS, PHRASES, -1)
    scale = towers.scale.exp()
    with torch.autocast(device.type, enabled=False):
        clip = F.normalize(frames[:, :SPREAD].mean(1), dim=-1)
        relevance = choices @ frames.repeat_interleave(SETS, 0).mT  # [B * SETS, C, F]
        choice, accuracy = choice_loss(relevance, scale)
        return ClipLosses(
            caption=contrast(captions, clip, scale),
            moment=contrast(moments, frames[rows, moment], scale),
            choice=choice,
            time=time_loss(relevance[:, 0], batch.inside.flatten(0, 1), scale),
            patch=patch,
            accuracy=accuracy,
        )


class FrozenFrames:
    """Embeddings of the ring's clips under a vision tower that does not change."""

    def __init__(self, towers: Towers, ring: Ring, noise: torch.Generator) -> None:
        self._towers, self._ring, self._noise = towers, ring, noise
        self._done = 0
        device = towers.vision.device
        shape = (ring.size, FRAMES, towers.vision.config.dimension)
        self._kept = torch.empty(shape, device=device)

    @torch.no_grad()
    def follow(self) -> None:
        """Embed what has been rendered since the last time."""
        rendered, size = self._ring.rendered, self._ring.size
        vision = self._towers.vision
        for start in range(max(self._done, rendered - size), rendered, 256):
            rows = torch.arange(start, min(start + 256, rendered), device=vision.device) % size
            values = spoil(self._ring.take(rows)[0].flatten(0, 1), vision.config, self._noise)
            with torch.autocast(vision.device.type, torch.bfloat16):
                seen = embed_frames(vision, values, vision.config.tokens - 1)
            self._kept[rows] = seen.embeddings.view(len(rows), FRAMES, -1)
        self._done = rendered

    def losses(self, clips: int, shuffle: torch.Generator) -> ClipLosses:
        """Return the losses of one step for the text tower."""
        rows = self._ring.pick(clips, shuffle, self._done)
        none = torch.zeros((), device=rows.device)
        batch = WorldBatch(none, *self._ring.take(rows, first=1))
        return text_losses(self._towers, self._kept[rows], batch, self._noise, run_layer, none)


def _row(
    step: int, seconds: float, ring: Ring, rate: float, towers: Towers, losses: ClipLosses
) -> list[Any]:
    parts = (losses.caption, losses.moment, losses.choice, losses.time, losses.patch)
    values = [round(float(part.detach()), 4) for part in (*parts, losses.accuracy)]
    scale = round(float(towers.scale.detach().exp()), 2)
    return [step, round(seconds, 1), ring.rendered, f"{rate:.2e}", scale, *values]


def _save(out: Path, towers: Towers) -> None:
    save_clip(out, towers.vision, towers.text, towers.tokenizer, float(towers.scale.detach()))


@torch.inference_mode()
def _finish(
    config: ClipTraining, towers: Towers, out: Path, figures: dict[str, Any]
) -> dict[str, Any]:
    """Save, score on both held-out splits, and write what was done."""
    _save(out, towers)
    device, size = towers.vision.device, towers.vision.config.image_size

    def frames(pixels: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            rows = towers.vision(towers.vision.normalise(pixels))
        return F.normalize(rows.float(), dim=-1)

    def texts(told: Sequence[str]) -> Tensor:
        ids = torch.from_numpy(encode(towers.tokenizer, told, CONTEXT)).long().to(device)
        return F.normalize(torch.cat([towers.text(part) for part in ids.split(512)]), dim=-1)

    scores = {
        split: score(
            split, min(clips, config.scored), 7, (frames, texts), size=size, workers=config.workers
        )
        for split, clips in SCORED.items()
    }
    result = {"config": asdict(config), **figures, "scores": scores}
    (out / "training.json").write_text(json.dumps(result, indent=2) + "\n")
    return result
