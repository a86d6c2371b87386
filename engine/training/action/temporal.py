"""Fine-tune the temporal half of a factorised ViViT on what its spatial half gives when pruned."""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from engine.errors import UsageError
from engine.training.action.data import MOTIONS, render_pool
from engine.training.schedule import warm_cosine
from engine.vision.action import ActionModel, load_action_model
from engine.vision.backbone.factorised import FactorisedTower
from engine.vision.backbone.factorised_files import export_factorised
from engine.vision.rollout.clips import ClipPruning, RolledClips
from engine.world.action import LABELS
from engine.world.splits import Split

log = logging.getLogger(__name__)
RATE, WARMUP, DECAY = 3e-4, 0.1, 0.05
AT_ONCE = 32  # clips that go through the spatial half together


@dataclass(frozen=True, slots=True)
class TemporalTraining:
    """What is fine-tuned, on how much, for how long."""

    model: str  # a folder of a factorised ViViT
    out: str
    cache: str | None = None  # where features are kept; None: they are computed in every round
    clips: int = 6000
    held: int = 600  # clips of the `val` split, to report on
    batch: int = 128
    rounds: int = 10  # through all clips
    keep: float = 0.215  # share of the patches, beside the first tubelet and the resets
    every: int = 8
    seed: int = 0
    workers: int = 2
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UsageError(f"rounds {self.rounds}; allowed: 1 or more")

    @property
    def pruning(self) -> ClipPruning:
        """How clips are pruned."""
        return ClipPruning(self.keep, self.every)


def train_temporal(training: TemporalTraining) -> dict[str, float]:
    """Fine-tune, write the model below `out`, and return what it scores on held-out clips."""
    torch.manual_seed(training.seed)
    model = load_action_model(training.model, device=training.device, dtype=torch.float32)
    tower = _with_head(model)
    runs = RolledClips(tower, training.pruning)
    clips, motions = _pool("train", training.clips, training.seed, training, model)
    features = None if training.cache is None else _cached(clips, runs, training, model)
    own = [*tower.temporal.parameters(), *tower.head.parameters()]
    for parameter in own:
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(own, lr=RATE, weight_decay=DECAY)
    generator = torch.Generator().manual_seed(training.seed)
    steps = training.rounds * -(-len(clips) // training.batch)
    for step, picked in enumerate(_picked(len(clips), training, generator)):
        for group in optimiser.param_groups:
            group["lr"] = warm_cosine(RATE, WARMUP, step / steps)
        taken = _features(clips[picked], runs) if features is None else features[picked]
        optimiser.zero_grad()
        scores = tower.tell(taken.to(tower.head.weight.device))
        F.cross_entropy(scores, motions[picked].to(scores.device), label_smoothing=0.1).backward()
        nn.utils.clip_grad_norm_(own, 1.0)
        optimiser.step()
    tower.requires_grad_(False)
    held, meant = _pool("val", training.held, training.seed + 1, training, model)
    right = (likeliest(tower, held, runs) == meant).double().mean()
    scored = {"top1": float(right), "steps": float(steps)}
    folder = Path(training.out)
    export_factorised(tower.cpu(), tuple(LABELS.values()), model.fps, folder)
    told = {"training": asdict(training), "scores": scored}
    (folder / "training.json").write_text(json.dumps(told, indent=1) + "\n")
    return scored


@torch.inference_mode()
def likeliest(tower: FactorisedTower, clips: Tensor, runs: RolledClips) -> Tensor:
    """Likeliest class of each clip, int64 `[n]`."""
    features = _features(clips, runs).to(tower.head.weight.device)
    return tower.tell(features).argmax(1).cpu() if len(clips) else torch.empty(0, dtype=torch.int64)


def _with_head(model: ActionModel) -> FactorisedTower:
    """Return the tower; of other labels than the made-up world's it gets a head of zeros."""
    tower = model.tower
    if not isinstance(tower, FactorisedTower):
        raise UsageError(
            f"{model.space.name} has no temporal half; allowed: a folder of type vivit_factorised"
        )
    if model.labels != tuple(LABELS.values()):
        head = nn.Linear(tower.config.spatial.width, len(MOTIONS))
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        tower.head = head.to(tower.head.weight.device)
    return tower


def _picked(count: int, training: TemporalTraining, generator: torch.Generator) -> Iterator[Tensor]:
    for _ in range(training.rounds):
        yield from torch.randperm(count, generator=generator).split(training.batch)


def _features(clips: Tensor, runs: RolledClips) -> Tensor:
    """Features of clips on the host, a few clips at a time."""
    return torch.cat([runs.features(part).cpu() for part in clips.split(AT_ONCE)]).clone()


def _cached(
    clips: Tensor, runs: RolledClips, training: TemporalTraining, model: ActionModel
) -> Tensor:
    """Read the features of a pool, or compute and write them."""
    assert training.cache is not None
    path, mark = Path(training.cache), _mark(training, model)
    if path.exists():
        try:
            with safe_open(path, framework="pt") as opened:
                found = (opened.metadata() or {}).get("mark")
                if found == mark:
                    return opened.get_tensor("features").clone()
        except (OSError, SafetensorError) as error:
            raise UsageError(f"{path} cannot be read as features: {error}") from error
        raise UsageError(f"{path} holds features of other clips, weights or pruning: name another")
    features = _features(clips, runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    save_file({"features": features.contiguous()}, part, {"mark": mark})
    part.replace(path)
    return features


def _mark(training: TemporalTraining, model: ActionModel) -> str:
    """What features depend on, as one word."""
    told = (model.space.weight_hash, training.clips, training.seed, asdict(training.pruning))
    return sha256(json.dumps(told).encode()).hexdigest()


def _pool(
    split: Split, clips: int, seed: int, training: TemporalTraining, model: ActionModel
) -> tuple[Tensor, Tensor]:
    shape = model.tower.config
    pixels, motions = render_pool(
        split, clips, seed, frames=shape.num_frames, fps=model.fps, size=shape.image_size,
        workers=training.workers,
    )  # fmt: skip
    log.info("%d %s clips rendered", clips, split)
    return torch.from_numpy(pixels), torch.from_numpy(motions)
