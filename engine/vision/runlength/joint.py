"""Run-length tokens in a video model: the kept tokens of a clip attend to each other, packed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

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
    compiled: bool = False  # takes half a minute once: for many clips on a GPU

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
        flags = kept.flatten(1).to(tower.device, non_blocking=True)
        special = int(config.class_token)
        clip, place = flags.nonzero().unbind(1)
        starts = F.pad((flags.sum(1) + special).cumsum(0), (1, 0))
        length = None
        if self.lengths is not None:
            length = self.lengths[run_lengths(kept).flatten(1).to(tower.device)[flags] - 1]
        if self.compiled:
            _vary(clip, place, length)
        run = _compiled() if self.compiled else _layers
        pixels = clips.to(tower.device, non_blocking=True)
        h = run(tower, pixels, clip, place, length, starts.int())
        if special:
            return tower.classify(h[starts[:-1]])
        pooled = torch.segment_reduce(h.float(), "mean", offsets=starts, unsafe=True)
        return tower.classify(pooled.to(h.dtype))


def _layers(
    tower: VideoTower,
    pixels: Tensor,
    clip: Tensor,
    place: Tensor,
    length: Tensor | None,
    starts: Tensor,
) -> Tensor:
    """Last tokens `[R, D]` of the kept places of clips of bytes, a class token before each clip's.

    Only what is kept is normalised and embedded.
    """
    config = tower.config
    special = int(config.class_token)
    mean, std = pixels.new_tensor([config.mean, config.std], dtype=torch.float32).unbind()
    area = config.tubelet * config.patch**2
    cells = tower.cut(pixels)[clip, place].float().unflatten(1, (3, area)) / 255
    values = ((cells - mean[:, None]) / std[:, None]).flatten(1)
    h = tower.patch(values.to(tower.position.dtype)) + tower.position[place + special]
    if length is not None:
        h = h + length
    if special:
        # by reading rows, not by writing them: what is written into an expanded row is lost when
        # torch.compile makes a kernel of it
        rows = torch.arange(len(place), device=place.device) + 1
        wanted = rows.new_zeros(len(place) + len(pixels)).index_copy(0, rows + clip, rows)
        h = torch.cat([(tower.class_token + tower.position[0])[None], h])[wanted]
    for index in range(config.layers):
        layer = tower.layer(index)
        mixed = attend_packed(layer.project(h), layer.heads, starts, config.tokens)
        h = layer.finish(h, mixed)
    return h


def _vary(*packed: Tensor | None) -> None:
    """Say that another pack has another number of tokens."""
    from torch._dynamo import mark_dynamic  # takes seconds, and is needed to compile alone

    for each in packed:
        if each is not None:
            mark_dynamic(each, 0)


@cache
def _compiled() -> Callable[..., Tensor]:
    """Compile the layers once for packs of any number of tokens."""
    return torch.compile(_layers)


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
