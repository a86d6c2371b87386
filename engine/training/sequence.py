"""Train CLIP4Clip's sequence head on the made-up world: a clip's frames against its caption."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from engine.search.sequence import (
    SequenceConfig,
    SequenceHead,
    SequenceLayer,
    SequencePooler,
    save_sequence,
    spread,
)
from engine.training.fit import fit
from engine.training.vectors import ClipVectors, HeadPlan, world_vectors
from engine.vision.model import Model

HEADS = 64  # numbers of an attention head, as published


@dataclass(frozen=True, slots=True)
class SequenceTraining:
    """Everything that decides a training run."""

    plan: HeadPlan
    batch: int = 128
    layers: int = 4
    frames: int = 32  # of a clip, evenly, and places that the head has; the field's sets take 12
    noise: float = 0.01  # of the vectors, against rounding and coding
    least: float = 0.5  # share of its frames that a clip shows at least, another each time


def train_sequence(
    model: Model,
    config: SequenceTraining,
    out: Path,
    *,
    workers: int = 0,
    keep: Path | None = None,
) -> dict[str, float]:
    """Train a head for `model`, write it and its log to `out`, and return validation scores.

    It starts as the plain mean: what its layers add is zero at first. `keep` is a folder of
    encoded clips, see `world_vectors`.
    """
    clips = list(world_vectors(model, config.plan.pool, workers=workers, keep=keep))
    torch.manual_seed(config.plan.fitting.seed)
    head = new_head(model.space.dimension, config.layers, config.frames).to(model.device)
    stored = CaptionedClips.of(clips, head.config.frames).to(model.device)

    def losses(random: torch.Generator) -> Mapping[str, Tensor]:
        picked = torch.randperm(len(clips), generator=random)[: config.batch]
        return {"loss": contrast(head, stored, picked.to(model.device), model.logit_scale, config)}

    fit(head, losses, config.plan.fitting, out / "sequence.csv")
    pooler = SequencePooler(head.requires_grad_(False), model.space.weight_hash)
    save_sequence(pooler, out / "sequence.safetensors")
    checks = list(world_vectors(model, config.plan.validation, workers=workers, keep=keep))
    scores = score(pooler, checks)
    (out / "report.json").write_text(json.dumps(scores, indent=2) + "\n")
    return scores


def new_head(dimension: int, layers: int, frames: int) -> SequenceHead:
    """Make a head whose layers add nothing yet, with small random places."""
    head = SequenceHead(SequenceConfig(dimension, max(1, dimension // HEADS), layers, frames))
    nn.init.normal_(head.position.weight, std=1e-3)
    for layer in head.layers:
        assert isinstance(layer, SequenceLayer)
        for last in (layer.attend.out_proj, layer.down):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    return head


@dataclass(frozen=True, slots=True)
class CaptionedClips:
    """Clips side by side, padded to the longest."""

    frames: Tensor  # float16 [V, F, E]
    shown: Tensor  # bool [V, F]
    captions: Tensor  # float32 [V, E]

    @classmethod
    def of(cls, clips: Sequence[ClipVectors], most: int) -> "CaptionedClips":
        """Put clips side by side, each thinned out to `most` frames."""
        frames = [torch.from_numpy(c.frames[spread(len(c.frames), most)]) for c in clips]
        counts = torch.tensor([len(each) for each in frames])
        return cls(
            frames=pad_sequence(frames, batch_first=True),
            shown=torch.arange(int(counts.max())) < counts[:, None],
            captions=torch.from_numpy(np.stack([c.caption for c in clips])).float(),
        )

    def to(self, device: torch.device) -> "CaptionedClips":
        """Move all tensors to a device."""
        return CaptionedClips(
            self.frames.to(device), self.shown.to(device), self.captions.to(device)
        )


def contrast(
    head: SequenceHead,
    stored: CaptionedClips,
    picked: Tensor,
    scale: float,
    config: SequenceTraining,
) -> Tensor:
    """Symmetric cross-entropy of clips and captions; each clip shows some of its frames."""
    frames, shown = stored.frames[picked].float(), stored.shown[picked]
    frames = F.normalize(frames + config.noise * torch.randn_like(frames), dim=-1)
    share = config.least + (1 - config.least) * torch.rand(len(picked), 1, device=frames.device)
    kept = shown & (torch.rand(shown.shape, device=frames.device) < share)
    kept = torch.where(kept.any(1, keepdim=True), kept, shown)
    logits = scale * head(frames, kept) @ stored.captions[picked].T
    truth = torch.arange(len(picked), device=frames.device)
    return (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2


def score(pooler: SequencePooler, clips: Sequence[ClipVectors]) -> dict[str, float]:
    """Text to video, percent of captions whose clip comes first, by the mean and by the head."""
    frames = [clip.frames.astype(np.float32) for clip in clips]
    captions = np.stack([clip.caption for clip in clips]).astype(np.float32)
    means = np.stack([each.mean(0) / np.linalg.norm(each.mean(0)) for each in frames])
    pooled = pooler.pool(frames, [np.ones(len(each), np.float32) for each in frames])
    found = {}
    for name, videos in (("mean", means), ("head", pooled)):
        first = (captions @ videos.T).argmax(1) == np.arange(len(clips))
        found[name] = 100 * float(first.mean())
    return found
