"""The early gate with all tokens computed, so that its limits can be learned through the chain."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.vision.gate.learned import LearnedLimits
from engine.vision.gate.limits import Limits
from engine.vision.reuse.schedule import KINDS, ORDER, REFERENCES
from engine.vision.tower import Layer, VisionTower


class SoftLimits(nn.Module):
    """The learned limits as parameters; they start as a random projection with one threshold."""

    def __init__(self, layers: int, width: int, compared: int, threshold: float) -> None:
        super().__init__()
        gates = layers - 1
        self.projection = nn.Parameter(torch.randn(gates, compared, width) / compared**0.5)
        self.weight = nn.Parameter(torch.zeros(gates, width))
        self.bias = nn.Parameter(torch.zeros(gates, len(KINDS)))
        self.threshold = nn.Parameter(torch.full((gates,), threshold).log())

    def margin(self, index: int, h: Tensor, keys: Tensor, root: Tensor, slot: int) -> Tensor:
        """Logarithm of limit over relative difference `[B, N]`; reused where it is not negative."""
        gate = index - 1
        rms = h.square().mean(-1).add(1e-6).sqrt()
        raised = h @ self.weight[gate] / rms + self.bias[gate, slot]
        distance = (keys - root).square().sum(-1) / keys.square().sum(-1).add(1e-6)
        return self.threshold[gate] + raised.clamp(-4, 4) - 0.5 * (distance + 1e-8).log()

    def hard(self) -> LearnedLimits:
        """Return the limits as they are served."""
        base = Limits(tuple(self.threshold.detach().exp().tolist()))
        return LearnedLimits(
            base, self.projection.detach().clone(), self.weight.detach(), self.bias.detach()
        )


@dataclass(frozen=True, slots=True)
class Slot:
    """A frame of a training clip: its number, its slot in the group, the frames it may follow."""

    frame: int
    slot: int
    references: tuple[int, ...]  # places in the clip's order


def clip_slots(groups: int) -> tuple[Slot, ...]:
    """A full frame, then that many groups of four, as they are served."""
    slots = [Slot(0, 0, ())]
    far = 0
    for group in range(groups):
        start = len(slots)
        for slot, allowed in enumerate(REFERENCES):
            places = tuple(far if reference < 0 else start + reference for reference in allowed)
            slots.append(Slot(1 + 4 * group + ORDER[4][slot], slot, places))
        far = start
    return tuple(slots)


@dataclass(frozen=True, slots=True)
class SoftResult:
    """What a clip gave, in the order of its slots."""

    embeddings: Tensor  # [B, S, E]
    active: Tensor  # [B, S - 1, L - 1], share of tokens computed, differentiable


@dataclass(slots=True)
class _Frame:
    h: Tensor  # [B, N, D], what the frame would compute itself
    active: Tensor  # [B, N], 1 where it does
    follows: Tensor  # [B, N], which reference, where it does not
    keys_values: Tensor  # [B, N, 2D], resolved
    root: Tensor  # [B, N, C], resolved


def encode_soft(
    tower: VisionTower, limits: SoftLimits, values: Tensor, slots: Sequence[Slot], heat: Tensor
) -> SoftResult:
    """Run clips `[B, F, 3, S, S]` with hard gates whose gradient is a sigmoid's of width `heat`."""
    config = tower.config
    ordered = torch.stack([values[:, slot.frame] for slot in slots], 1)
    h = tower.embed(ordered.flatten(0, 1))
    hidden = tower.layer(0)(h).unflatten(0, (len(values), len(slots)))
    empty, none = hidden.new_empty(0), hidden.new_zeros(hidden.shape[0], config.tokens)
    frames = [_Frame(own, none + 1, none.long(), empty, empty) for own in hidden.unbind(1)]
    shares = []
    for index in range(1, config.layers):
        layer = tower.layer(index)
        qkv = layer.project(torch.stack([frame.h for frame in frames], 1))
        q, keys_values = qkv.split([config.width, 2 * config.width], -1)
        for place, slot in enumerate(slots):
            frame = frames[place]
            keys = F.linear(frame.h, limits.projection[index - 1])
            candidates = [frames[reference] for reference in slot.references]
            _gate(frame, keys, keys_values[:, place], candidates, limits, (index, slot.slot, heat))
        shares.append(torch.stack([frame.active.mean(1) for frame in frames[1:]], 1))
        stacked = torch.stack([frame.keys_values for frame in frames], 1)
        after = _attend(layer, q, stacked, torch.stack([frame.h for frame in frames], 1))
        for place, frame in enumerate(frames):
            frame.h = after[:, place]
    last = torch.stack([frame.h[:, 0] for frame in frames], 1)
    embeddings = tower.finish(last.flatten(0, 1)).unflatten(0, last.shape[:2])
    return SoftResult(embeddings, torch.stack(shares, -1))


def _gate(
    frame: _Frame,
    keys: Tensor,
    own: Tensor,
    candidates: Sequence[_Frame],
    limits: SoftLimits,
    where: tuple[int, int, Tensor],
) -> None:
    """Decide for one frame and resolve what stands for its tokens."""
    if not candidates:
        frame.keys_values, frame.root = own, keys
        return
    index, slot, heat = where
    margins = torch.stack(
        [limits.margin(index, frame.h, keys, each.root, slot) for each in candidates]
    )
    margin, nearest = margins.max(0)
    soft = torch.sigmoid(margin / heat)
    reuse = (margin >= 0).to(soft) + soft - soft.detach()
    reuse = torch.cat([torch.zeros_like(reuse[:, :1]), reuse[:, 1:]], 1)  # never the class token
    was = frame.active.detach() > 0.5
    frame.follows = torch.where(was, nearest, frame.follows)
    frame.active = frame.active * (1 - reuse)
    share = frame.active[..., None]
    frame.keys_values = share * own + (1 - share) * _pick(
        [each.keys_values for each in candidates], frame.follows
    )
    frame.root = share * keys + (1 - share) * _pick(
        [each.root for each in candidates], frame.follows
    )


def _pick(options: Sequence[Tensor], chosen: Tensor) -> Tensor:
    if len(options) == 1:
        return options[0]
    return torch.where((chosen == 0)[..., None], options[0], options[1])


def _attend(layer: Layer, q: Tensor, keys_values: Tensor, h: Tensor) -> Tensor:
    """One layer of `[B, S, N, D]` with each frame's resolved keys and values."""
    shape, heads = h.shape, layer.heads
    keys, values = keys_values.chunk(2, -1)

    def split(x: Tensor) -> Tensor:
        return x.flatten(0, 1).unflatten(-1, (heads, -1)).transpose(1, 2)

    mixed = F.scaled_dot_product_attention(split(q), split(keys), split(values))
    return layer.finish(h, mixed.transpose(1, 2).reshape(shape))
