"""One step of many streams through the tower, computing only the tokens that no root stands for."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.vision.gate.batch import Frames, Packed
from engine.vision.gate.learned import LearnedLimits
from engine.vision.gate.limits import Limits
from engine.vision.gate.roots import Roots, extend, put
from engine.vision.macs import attend_macs, embed_macs, finish_macs, head_macs, project_macs
from engine.vision.tower import VisionConfig, VisionTower
from kernels.compare import choose_roots
from kernels.paged_attention import paged_attention


@dataclass(frozen=True, slots=True)
class Stepped:
    """What a step gave, frame by frame in packed order."""

    embeddings: Tensor  # [F, E]
    computed: Tensor  # int64 [F, L]
    compared: Tensor  # int64 [F], rows compared in all gates, times their candidates


def encode_step(
    tower: VisionTower,
    limits: Limits | LearnedLimits,
    roots: Roots,
    frames: Frames,
    pixels: Tensor,
    whole: Tensor,
    references: Sequence[Sequence[int]],
) -> Stepped:
    """Encode one step and leave the far frames' roots in `roots`.

    Args:
        tower: the backbone.
        limits: what the gates compare, and how far a root may be.
        roots: of all streams; changed in place.
        frames: the layout of `pixels`.
        pixels: uint8 `[F, 3, S, S]`.
        whole: bool `[F]`, frames of which every token is computed.
        references: for each slot the sources that it may follow.
    """
    config = tower.config
    packed = Packed.everything(frames)
    h = tower.layer(0)(tower.embed(tower.normalise(pixels))).flatten(0, 1)
    fixed = whole[:, None].expand(-1, config.tokens).clone()
    if config.class_token:
        fixed[:, 0] = True
    fixed = fixed.flatten()
    slots = frames.slots[:, None].expand(-1, config.tokens).flatten()
    candidates = torch.tensor([len(each) for each in references], device=h.device)[frames.slots]
    computed = [torch.full_like(frames.slots, config.tokens)]
    compared = torch.zeros_like(frames.slots)
    for index in range(1, config.layers):
        compared += (packed.counts() - int(config.class_token)) * candidates
        keys = limits.keys(index, h)
        bound = limits.of(index, h, slots).masked_fill(fixed, -1.0)
        cached = roots.compared[index - 1]
        follows, source = choose_roots(
            keys, packed.row_of, cached, packed.follows, bound, references
        )
        kept = packed.narrow(follows, source)
        h, fixed, slots = h.index_select(0, kept), fixed[kept], slots[kept]
        counts, leading = packed.counts(), packed.leading()
        computed.append(counts)
        put(cached, leading, keys[kept[: len(leading)]])
        h = _run_layer(tower, index, h, packed, source, roots)
    if config.class_token:
        embeddings = tower.finish(h)
    else:
        table = extend(roots.outputs[0], h)
        embeddings = tower.finish(table[packed.page(source)])
        put(roots.outputs[0], leading, h[: len(leading)])
    compared = compared.masked_fill(whole, 0)
    return Stepped(embeddings, torch.stack(computed, 1), compared)


def _run_layer(
    tower: VisionTower, index: int, h: Tensor, packed: Packed, source: Tensor, roots: Roots
) -> Tensor:
    """Run a layer on the packed rows; the last one for class tokens alone, where there are any."""
    config, layer = tower.config, tower.layer(index)
    cached, leading = roots.keys_values[index - 1], packed.leading()
    width, counts = config.width, packed.counts()
    if config.class_token and index == config.layers - 1:
        normed = layer.norm1(h)
        fresh = F.linear(normed, layer.qkv.weight[width:], layer.qkv.bias[width:])
        first = (packed.homes % config.tokens == 0).nonzero().squeeze(1)
        q = F.linear(normed[first], layer.qkv.weight[:width], layer.qkv.bias[:width])
        h, counts = h[first], torch.ones_like(counts)
    else:
        q, fresh = layer.project(h).split([width, 2 * width], dim=1)
    table = extend(cached, fresh)
    starts = F.pad(counts.cumsum(0), (1, 0)).int()
    page = packed.page(source).int()
    mixed = paged_attention(q, starts, table, page, config.heads)
    put(cached, leading, fresh[: len(leading)])
    return layer.finish(h, mixed)


def step_macs(config: VisionConfig, limits: Limits | LearnedLimits, stepped: Stepped) -> Tensor:
    """Multiply-accumulates done for each frame, float64 `[F]`, by the rows really multiplied."""
    rows = stepped.computed.double()
    middle = rows[:, : config.layers - 1] if config.class_token else rows
    token = project_macs(config, 1) + attend_macs(config, 1) + finish_macs(config, 1)
    total = embed_macs(config) + head_macs(config) + middle.sum(1) * token
    if config.class_token:
        q, kv = config.width**2, 2 * config.width**2
        total = total + rows[:, -1] * kv + q + attend_macs(config, 1) + finish_macs(config, 1)
    return total + limits.macs(config, stepped.computed, stepped.compared)
