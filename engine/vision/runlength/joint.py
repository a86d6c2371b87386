"""Run-length tokens in a video model: the kept tokens of a clip attend to each other, packed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.errors import UsageError
from engine.vision.backbone.packed import attend_packed
from engine.vision.backbone.video import VideoConfig, VideoTower
from engine.vision.runlength.mask import THRESHOLD, begins_run, run_lengths

BUDGET = 16_384  # tokens that are computed at once, whatever clips they are of


@dataclass(frozen=True, slots=True)
class Classified:
    """What clips gave."""

    scores: Tensor  # float32 [B, C], not softmaxed
    kept: Tensor  # int64 [B], tokens computed, the class token included
    macs: Tensor  # float64 [B]


@dataclass(frozen=True, slots=True)
class RunLengthVideo:
    """Classify clips by the tokens that begin a run; with a threshold below 0 by all.

    `lengths` is a learned table `[steps, D]`: its row of a token's run less one is added to the
    token. The published results without training have none.
    """

    tower: VideoTower
    threshold: float = THRESHOLD
    budget: int = BUDGET
    lengths: Tensor | None = None

    def __post_init__(self) -> None:
        config = self.tower.config
        if self.budget < config.tokens:
            raise UsageError(f"a budget of {self.budget} tokens; a clip has up to {config.tokens}")
        wanted = (config.steps, config.width)
        if self.lengths is not None and self.lengths.shape != wanted:
            raise UsageError(f"lengths must be {list(wanted)}, got {list(self.lengths.shape)}")

    @torch.inference_mode()
    def classify(self, clips: Tensor) -> Classified:
        """Classify clips of bytes `[B, F, 3, S, S]`, so many at once as the budget allows."""
        config = self.tower.config
        kept = begins_run(
            clips, tubelet=config.tubelet, patch=config.patch, threshold=self.threshold
        )
        counts = kept.flatten(1).sum(1) + int(config.class_token)
        scores = [
            self.score(clips[part], kept[part]) for part in packs(counts.tolist(), self.budget)
        ]
        empty = self.tower.position.new_empty(0, config.classes)
        macs = [video_macs(config, count) for count in counts.tolist()]
        return Classified(
            torch.cat([empty, *scores]).float(), counts, torch.tensor(macs, dtype=torch.float64)
        )

    def score(self, clips: Tensor, kept: Tensor) -> Tensor:
        """Scores `[B, C]` of clips by their kept tokens, packed; autograd goes through.

        Args:
            clips: bytes `[B, F, 3, S, S]`.
            kept: bool `[B, steps, rows, columns]`.
        """
        tower, config = self.tower, self.tower.config
        flags = kept.flatten(1).to(tower.device)
        place = flags.nonzero()[:, 1]
        values = tower.cut(tower.normalise(clips))[flags].to(tower.position.dtype)
        special = int(config.class_token)
        h = tower.patch(values) + tower.position[place + special]
        if self.lengths is not None:
            h = h + self.lengths[run_lengths(kept).flatten(1).to(tower.device)[flags] - 1]
        counts = (flags.sum(1) + special).tolist()
        if special:
            h = self._with_class(h, counts)
        for index in range(config.layers):
            layer = tower.layer(index)
            h = layer.finish(h, attend_packed(layer.project(h), layer.heads, counts))
        pooled = [each[0] if special else each.mean(0) for each in h.split(counts)]
        return tower.classify(torch.stack(pooled))

    def _with_class(self, h: Tensor, counts: Sequence[int]) -> Tensor:
        """Put each clip's class token before its own."""
        first = self.tower.class_token + self.tower.position[0]
        parts = h.split([count - 1 for count in counts])
        return torch.cat([row for part in parts for row in (first[None], part)])


def packs(counts: Sequence[int], budget: int) -> Iterator[slice]:
    """Cut clips into runs of so many that their tokens are within a budget, or of one clip."""
    start = total = 0
    for at, count in enumerate(counts):
        if at > start and total + count > budget:
            yield slice(start, at)
            start, total = at, 0
        total += count
    if counts:
        yield slice(start, len(counts))


def video_macs(config: VideoConfig, tokens: int) -> int:
    """Multiply-accumulates of a clip of which so many tokens are computed."""
    d, patches = config.width, tokens - int(config.class_token)
    layer = 4 * tokens * d**2 + 2 * tokens * d * config.mlp + 2 * tokens**2 * d
    embed = patches * d * 3 * config.tubelet * config.patch**2
    return embed + config.layers * layer + d * config.classes
