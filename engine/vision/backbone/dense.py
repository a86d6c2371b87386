"""A detector that reads every patch: is there a thing, where are its edges, what is it."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.errors import ModelError
from engine.vision.backbone.windowed import WindowedConfig, WindowedTower

OVERLAP = 0.6  # of two boxes, from which the less likely is none
CANDIDATES = 100  # boxes of a picture that are compared, the likeliest


@dataclass(frozen=True, slots=True)
class DenseConfig:
    """Shape of a detector of this kind."""

    tower: WindowedConfig
    hidden: int  # width of the head
    attributes: tuple[int, ...]  # how many values each attribute has; a label is one of each


@dataclass(frozen=True, slots=True)
class PatchRead:
    """What is read off each patch, before boxes that say the same are left out."""

    thing: Tensor  # logit that a thing is there, [B, N]
    boxes: Tensor  # left, top, right, bottom in shares of the picture, [B, N, 4]
    attributes: tuple[Tensor, ...]  # logits of each attribute's values, [B, N, values]


class DenseHead(nn.Module):
    """A narrowing product, a convolution over the grid of tokens, and a product for each patch."""

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        self.side, self.sizes = config.tower.side, config.attributes
        self.norm = nn.LayerNorm(config.tower.width)
        self.narrow = nn.Linear(config.tower.width, config.hidden)
        self.mix = nn.Conv2d(config.hidden, config.hidden, 3, padding=1)
        self.out = nn.Conv2d(config.hidden, 1 + 4 + sum(config.attributes), 1)

    def forward(self, tokens: Tensor) -> PatchRead:
        """Read tokens `[B, N, D]`, by row and column."""
        rows = F.gelu(self.narrow(self.norm(tokens)))
        grid = F.gelu(self.mix(rows.transpose(1, 2).unflatten(2, (self.side, self.side))))
        told = self.out(grid).float().flatten(2).transpose(1, 2)
        thing, reach, *attributes = told.split([1, 4, *self.sizes], dim=2)
        middles = (torch.arange(self.side, device=tokens.device) + 0.5) / self.side
        y, x = torch.meshgrid(middles, middles, indexing="ij")
        middle = torch.stack([x, y], dim=-1).flatten(0, 1)
        far = reach.clamp(-6, 6).exp() / self.side  # of the edges from the patch's middle
        boxes = torch.cat([middle - far[..., :2], middle + far[..., 2:]], dim=2).clamp(0, 1)
        return PatchRead(thing[..., 0], boxes, tuple(attributes))


class DenseDetector(nn.Module):
    """Normalised square pictures `[B, 3, S, S]` to scores of labels and boxes, one a patch."""

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        self.config = config
        self.tower = WindowedTower(config.tower)
        self.head = DenseHead(config)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Detect."""
        return self.name(self.tower(values))

    def name(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities `[B, N, labels + 1]`, that of none last, and boxes by their middle."""
        read = self.head(tokens)
        scores = F.logsigmoid(read.thing)[..., None]
        for logits in read.attributes:
            scores = (scores[..., None] + logits.log_softmax(-1)[..., None, :]).flatten(2)
        none = F.logsigmoid(-read.thing)[..., None]
        alive = alone(scores.amax(2), read.boxes)
        scores = scores.masked_fill(~alive[..., None], -torch.inf)
        none = none.masked_fill(~alive[..., None], 0.0)
        x0, y0, x1, y1 = read.boxes.unbind(-1)
        middles = torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], dim=-1)
        return torch.cat([scores, none], dim=2), middles


def head_macs(config: DenseConfig) -> int:
    """Multiply-accumulates of the head, for one picture."""
    told = 1 + 4 + sum(config.attributes)
    return config.tower.tokens * config.hidden * (config.tower.width + 9 * config.hidden + told)


def alone(scores: Tensor, boxes: Tensor) -> Tensor:
    """Tell which boxes `[B, N, 4]` stay, bool `[B, N]`: none by falling score overlaps another."""
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    order = order[:, :CANDIDATES]
    own = boxes.gather(1, order[..., None].expand(-1, -1, 4))
    near = overlap(own[:, :, None], own[:, None]) > OVERLAP
    stays = torch.ones_like(order, dtype=torch.bool)
    for at in range(order.shape[1] - 1):
        stays[:, at + 1 :] &= ~(stays[:, at, None] & near[:, at, at + 1 :])
    return torch.zeros(boxes.shape[:2], dtype=torch.bool, device=boxes.device).scatter(
        1, order, stays
    )


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """Shared area over joint area of boxes `[..., 4]`."""
    low, high = (
        torch.maximum(one[..., :2], other[..., :2]),
        torch.minimum(one[..., 2:], other[..., 2:]),
    )
    shared = (high - low).clamp(min=0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (one, other)]
    return shared / (areas[0] + areas[1] - shared).clamp(min=1e-9)


def attributes_of(config: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Return the values of each attribute, whose combinations are the labels."""
    told = config.get("attributes")
    if not told or not all(isinstance(values, Sequence) and len(values) for values in told):
        raise ModelError("a ViTDet detector without attributes; allowed: lists of their values")
    return tuple(tuple(map(str, values)) for values in told)


def combined(attributes: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """All labels, the last attribute's values turning fastest."""
    return tuple(" ".join(words) for words in itertools.product(*attributes))
