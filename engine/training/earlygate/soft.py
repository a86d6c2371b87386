"""The early gate with all tokens computed, so that its limits can be learned through the chain."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.vision.backbone.tower import Layer, VisionTower
from engine.vision.earlygate.bridge import Bridge, novelty
from engine.vision.earlygate.learned import LearnedLimits
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.streaming.schedule import ORDER
from kernels.select import KINDS, REFERENCES


class SoftLimits(nn.Module):
    """The learned limits as parameters; they start as a random projection with one threshold."""

    def __init__(
        self,
        layers: int,
        width: int,
        compared: int,
        threshold: float,
        gates: Sequence[int] = (1,),
    ) -> None:
        super().__init__()
        self.layers, self.gates = layers, tuple(gates)
        num = len(self.gates)
        self.projection = nn.Parameter(torch.randn(num, compared, width) / compared**0.5)
        self.weight = nn.Parameter(torch.zeros(num, width))
        self.bias = nn.Parameter(torch.zeros(num, len(KINDS)))
        self.threshold = nn.Parameter(torch.full((num,), threshold).log())

    def keys(self, index: int, h: Tensor) -> Tensor:
        """Return what is compared at layer `index`."""
        return F.linear(h, self.projection[self.gates.index(index)])

    def reach(self, index: int, h: Tensor, keys: Tensor, slots: Sequence[int]) -> Tensor:
        """Logarithm of the largest distance that is reused `[B, S, N]`, of frames in `slots`."""
        gate = self.gates.index(index)
        rms = h.float().square().mean(-1).add(1e-6).sqrt()
        bias = torch.stack([self.bias[gate, slot] for slot in slots])[:, None]
        raised = (h @ self.weight[gate]).float() / rms + bias
        length = keys.float().square().sum(-1).add(1e-6).log() / 2
        return self.threshold[gate] + raised.clamp(-4, 4) + length

    def hard(self) -> LearnedLimits:
        """Return the limits as they are served."""
        thresholds = [-1.0] * (self.layers - 1)
        for gate, threshold in zip(self.gates, self.threshold.detach().exp().tolist(), strict=True):
            thresholds[gate - 1] = threshold
        tensors = {}
        for name in ("projection", "weight", "bias"):
            learned = getattr(self, name).detach()
            tensors[name] = learned.new_zeros(self.layers - 1, *learned.shape[1:])
            tensors[name][[gate - 1 for gate in self.gates]] = learned
        return LearnedLimits.of_tensors(FixedLimits(tuple(thresholds)), tensors)


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
class SoftGated:
    """What a clip gave, in the order of its slots."""

    embeddings: Tensor  # [B, S, E]
    active: Tensor  # [B, S - 1, L - 1], share of tokens computed, differentiable


def encode_soft(
    tower: VisionTower, limits: SoftLimits, values: Tensor, slots: Sequence[Slot], heat: Tensor
) -> SoftGated:
    """Run clips `[B, F, 3, S, S]` with hard gates whose gradient is a sigmoid's of width `heat`."""
    config = tower.config
    ordered = torch.stack([values[:, slot.frame] for slot in slots], 1)
    h = tower.layer(0)(tower.embed(ordered.flatten(0, 1))).unflatten(0, ordered.shape[:2])
    chain = _Chain(slots, h.new_ones(*h.shape[:3], dtype=torch.float32))
    stages = [range(start, stop) for start, stop in _stages(slots)]
    shares = []
    for index in range(1, config.layers):
        layer = tower.layer(index)
        if index in limits.gates:
            keys = limits.keys(index, h)
            reach = limits.reach(index, h, keys, [slot.slot for slot in slots])
            chain.roots = list(keys.split(1, 1))
            for places in stages:
                chain.gate(places, reach[:, places.start : places.stop], heat)
        q, own = layer.project(h).split([config.width, 2 * config.width], -1)
        keys_values = list(own.split(1, 1))
        for places in stages:
            chain.resolve(places, keys_values)
        shares.append(torch.cat(chain.active[1:], 1).mean(2))
        h = _attend(layer, q, torch.cat(keys_values, 1), h)
    embeddings = tower.finish(h[:, :, 0].flatten(0, 1)).unflatten(0, h.shape[:2])
    return SoftGated(embeddings, torch.stack(shares, -1))


def bridge_soft(
    bridge: Bridge, result: SoftGated, slots: Sequence[Slot], sketches: Tensor
) -> SoftGated:
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
    return SoftGated(torch.stack(vectors, 1), result.active * share)


def _stages(slots: Sequence[Slot]) -> list[tuple[int, int]]:
    """Runs of places that follow none of each other, after the full frame."""
    depths = [slot.depth for slot in slots]
    return [
        (depths.index(depth), len(depths) - depths[::-1].index(depth))
        for depth in range(1, depths[-1] + 1)
    ]


class _Chain:
    """Which frames' tokens stand for which, place after place: `[B, 1, N]` each."""

    def __init__(self, slots: Sequence[Slot], active: Tensor) -> None:
        self.first = [slot.references[0] if slot.references else 0 for slot in slots]
        self.second = [slot.references[-1] if slot.references else 0 for slot in slots]
        self.active = list(active.split(1, 1))  # 1 where a token is computed
        self.follows = list((active > 0.5).split(1, 1))  # the first reference, where it is not
        self.roots: list[Tensor] = []  # what is compared, resolved up to the place at hand

    def gate(self, places: range, reach: Tensor, heat: Tensor) -> None:
        """Decide for frames side by side."""
        keys, active, follows = (
            torch.cat([values[place] for place in places], 1)
            for values in (self.roots, self.active, self.follows)
        )
        one, two = self._followed(places, self.roots)
        near, far = ((keys - root).float().square().sum(-1) for root in (one, two))
        margin = reach - (torch.minimum(near, far) + 1e-8).log() / 2
        soft = torch.sigmoid(margin / heat)
        reuse = (margin >= 0).to(soft) + soft - soft.detach()
        reuse = F.pad(reuse[..., 1:], (1, 0))  # never the class token
        follows = torch.where(active.detach() > 0.5, near <= far, follows)
        active = active * (1 - reuse)
        self.active[places.start : places.stop] = active.split(1, 1)
        self.follows[places.start : places.stop] = follows.split(1, 1)
        self.resolve(places, self.roots)

    def resolve(self, places: range, values: list[Tensor]) -> None:
        """Put what is followed in the place of what is not computed, for frames side by side."""
        own, active, follows = (
            torch.cat([each[place] for place in places], 1)
            for each in (values, self.active, self.follows)
        )
        one, two = self._followed(places, values)
        share = active[..., None].to(own)
        own = share * own + (1 - share) * torch.where(follows[..., None], one, two)
        values[places.start : places.stop] = own.split(1, 1)

    def _followed(self, places: range, values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        first = torch.cat([values[self.first[place]] for place in places], 1)
        return first, torch.cat([values[self.second[place]] for place in places], 1)


def _attend(layer: Layer, q: Tensor, keys_values: Tensor, h: Tensor) -> Tensor:
    """One layer of `[B, S, N, D]` with each frame's resolved keys and values."""
    shape, heads = h.shape, layer.heads
    keys, values = keys_values.chunk(2, -1)

    def split(x: Tensor) -> Tensor:
        return x.flatten(0, 1).unflatten(-1, (heads, -1)).transpose(1, 2)

    mixed = F.scaled_dot_product_attention(split(q), split(keys), split(values))
    return layer.finish(h, mixed.transpose(1, 2).reshape(shape))
