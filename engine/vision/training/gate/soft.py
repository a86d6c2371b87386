"""The early gate with all tokens computed, so that its limits can be learned through the chain."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.vision.gate.bridge import Bridge, novelty
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

    def reach(self, index: int, h: Tensor, keys: Tensor, slots: Sequence[int]) -> Tensor:
        """Logarithm of the largest distance that is reused `[B, S, N]`, of frames in `slots`."""
        gate = index - 1
        rms = h.float().square().mean(-1).add(1e-6).sqrt()
        bias = torch.stack([self.bias[gate, slot] for slot in slots])[:, None]
        raised = (h @ self.weight[gate]).float() / rms + bias
        length = keys.float().square().sum(-1).add(1e-6).log() / 2
        return self.threshold[gate] + raised.clamp(-4, 4) + length

    def hard(self) -> LearnedLimits:
        """Return the limits as they are served."""
        base = Limits(tuple(self.threshold.detach().exp().tolist()))
        return LearnedLimits(
            base, self.projection.detach().clone(), self.weight.detach(), self.bias.detach()
        )


@dataclass(frozen=True, slots=True)
class Slot:
    """A frame of a training clip, its slot in the group, and the frames it may follow."""

    frame: int
    slot: int
    depth: int  # of the chain of frames that it follows
    references: tuple[int, ...]  # places in the clip's order


def clip_slots(groups: int) -> tuple[Slot, ...]:
    """A full frame, then that many groups of four, as they are served; those that wait come last.

    Frames that follow none of each other are decided together, so that a step is fewer kernels.
    """
    found: list[tuple[int, int, int, tuple[int, ...]]] = [(0, 0, 0, ())]  # depth, frame, slot, …
    depths = {0: 0}
    for group in range(groups):
        frames = [1 + 4 * group + at for at in ORDER[4]]
        for slot, allowed in enumerate(REFERENCES):
            followed = tuple(4 * group if each < 0 else frames[each] for each in allowed)
            depths[frames[slot]] = 1 + max(depths[each] for each in followed)
            found.append((depths[frames[slot]], frames[slot], slot, followed))
    found.sort()
    places = {frame: place for place, (_, frame, _, _) in enumerate(found)}
    return tuple(
        Slot(frame, slot, depth, tuple(places[each] for each in followed))
        for depth, frame, slot, followed in found
    )


@dataclass(frozen=True, slots=True)
class SoftResult:
    """What a clip gave, in the order of its slots."""

    embeddings: Tensor  # [B, S, E]
    active: Tensor  # [B, S - 1, L - 1], share of tokens computed, differentiable


def encode_soft(
    tower: VisionTower, limits: SoftLimits, values: Tensor, slots: Sequence[Slot], heat: Tensor
) -> SoftResult:
    """Run clips `[B, F, 3, S, S]` with hard gates whose gradient is a sigmoid's of width `heat`."""
    config = tower.config
    ordered = torch.stack([values[:, slot.frame] for slot in slots], 1)
    h = tower.layer(0)(tower.embed(ordered.flatten(0, 1))).unflatten(0, ordered.shape[:2])
    active = [h.new_ones(h.shape[0], 1, config.tokens, dtype=torch.float32) for _ in slots]
    follows = [each.bool() for each in active]  # true: the first reference
    shares = []
    for index in range(1, config.layers):
        layer = tower.layer(index)
        q, own = layer.project(h).split([config.width, 2 * config.width], -1)
        keys = F.linear(h, limits.projection[index - 1])
        reach = limits.reach(index, h, keys, [slot.slot for slot in slots])
        chain = _Chain(slots, list(keys.split(1, 1)), list(own.split(1, 1)), active, follows)
        for start, stop in _stages(slots):
            chain.gate(range(start, stop), reach[:, start:stop], heat)
        shares.append(torch.cat(active[1:], 1).mean(2))
        h = _attend(layer, q, torch.cat(chain.keys_values, 1), h)
    embeddings = tower.finish(h[:, :, 0].flatten(0, 1)).unflatten(0, h.shape[:2])
    return SoftResult(embeddings, torch.stack(shares, -1))


def bridge_soft(
    bridge: Bridge, result: SoftResult, slots: Sequence[Slot], sketches: Tensor
) -> SoftResult:
    """Interpolate the frames whose sides agree, as is served; they count as not computed.

    `sketches` are the frames' `[B, F, 3, side, side]`. That a frame followed one which now lies on
    a line is not seen here.
    """
    vectors, kept = list(result.embeddings.float().unbind(1)), []
    for place, slot in enumerate(slots[1:], 1):
        left, right = slot.references[0], slot.references[-1]
        if left == right:
            kept.append(torch.ones_like(vectors[0][:, 0]))
            continue
        first, second = (slots[each].frame for each in (left, right))
        way = (slot.frame - first) / (second - first)
        line = vectors[left] + (vectors[right] - vectors[left]) * way
        news = novelty(*(sketches[:, frame] for frame in (slot.frame, first, second)))
        apart = 1 - F.cosine_similarity(vectors[left], vectors[right])
        spanned = (apart <= bridge.limit) & (news <= bridge.novelty)
        vectors[place] = torch.where(spanned[:, None], line, vectors[place])
        kept.append((~spanned).float())
    share = torch.stack(kept, 1)[..., None]
    return SoftResult(torch.stack(vectors, 1), result.active * share)


def _stages(slots: Sequence[Slot]) -> list[tuple[int, int]]:
    """Runs of places that follow none of each other, after the full frame."""
    depths = [slot.depth for slot in slots]
    return [
        (depths.index(depth), len(depths) - depths[::-1].index(depth))
        for depth in range(1, depths[-1] + 1)
    ]


@dataclass(slots=True)
class _Chain:
    """One layer's gates, place after place; the lists are resolved as it goes on."""

    slots: Sequence[Slot]
    roots: list[Tensor]  # [B, 1, N, C] each
    keys_values: list[Tensor]  # [B, 1, N, 2D]
    active: list[Tensor]  # [B, 1, N], 1 where a token is computed
    follows: list[Tensor]  # bool [B, 1, N], the first reference, where it is not

    def gate(self, places: range, reach: Tensor, heat: Tensor) -> None:
        """Decide for frames side by side, and resolve what stands for their tokens."""
        first = [self.slots[place].references[0] for place in places]
        second = [self.slots[place].references[-1] for place in places]
        keys, own, active, follows = (
            torch.cat([values[place] for place in places], 1)
            for values in (self.roots, self.keys_values, self.active, self.follows)
        )
        one, two = (torch.cat([self.roots[at] for at in each], 1) for each in (first, second))
        near, far = ((keys - root).float().square().sum(-1) for root in (one, two))
        margin = reach - (torch.minimum(near, far) + 1e-8).log() / 2
        soft = torch.sigmoid(margin / heat)
        reuse = (margin >= 0).to(soft) + soft - soft.detach()
        reuse = F.pad(reuse[..., 1:], (1, 0))  # never the class token
        follows = torch.where(active.detach() > 0.5, near <= far, follows)
        active = active * (1 - reuse)
        share, chosen = active[..., None].to(keys), follows[..., None]
        keys = share * keys + (1 - share) * torch.where(chosen, one, two)
        one, two = (torch.cat([self.keys_values[at] for at in each], 1) for each in (first, second))
        own = share * own + (1 - share) * torch.where(chosen, one, two)
        for values, new in (
            (self.roots, keys), (self.keys_values, own), (self.active, active),
            (self.follows, follows),
        ):  # fmt: skip
            values[places.start : places.stop] = new.split(1, 1)


def _attend(layer: Layer, q: Tensor, keys_values: Tensor, h: Tensor) -> Tensor:
    """One layer of `[B, S, N, D]` with each frame's resolved keys and values."""
    shape, heads = h.shape, layer.heads
    keys, values = keys_values.chunk(2, -1)

    def split(x: Tensor) -> Tensor:
        return x.flatten(0, 1).unflatten(-1, (heads, -1)).transpose(1, 2)

    mixed = F.scaled_dot_product_attention(split(q), split(keys), split(values))
    return layer.finish(h, mixed.transpose(1, 2).reshape(shape))
