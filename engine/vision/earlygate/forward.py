"""One step of many streams through the tower, computing only the tokens that no root stands for."""

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.vision.backbone.linear8 import some_columns
from engine.vision.backbone.macs import (
    attend_macs,
    embed_macs,
    finish_macs,
    head_macs,
    project_macs,
)
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.earlygate.batch import PackedTokens, StepFrames
from engine.vision.earlygate.group import Group
from engine.vision.earlygate.learned import LearnedLimits
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.roots import RootTable, extend
from engine.vision.streaming.stepper import Stepped
from kernels.compare import choose_roots
from kernels.paged_attention import paged_attention
from kernels.select import REFERENCES

# for each slot the sources that it may follow: what it refers to, cached or of its group
SOURCES = tuple(tuple(reference + 1 for reference in allowed) for allowed in REFERENCES)


def encode_step(
    tower: VisionTower,
    limits: FixedLimits | LearnedLimits,
    roots: RootTable,
    frames: StepFrames,
    pixels: Tensor,
    whole: Tensor,
    group: Group,
    *,
    more: bool,
) -> Stepped:
    """Encode frames of a group, following its roots and the frames of the group done before.

    Args:
        tower: the backbone.
        limits: what the gates compare, and how far a root may be.
        roots: of all streams, as the group before left them.
        frames: the layout of `pixels`.
        pixels: uint8 `[F, 3, S, S]`.
        whole: bool `[F]`, frames of which every token is computed.
        group: what the frames done before left behind; these are added.
        more: whether frames of the group are still to come.
    """
    config = tower.config
    packed = PackedTokens.everything(frames)
    h = tower.layer(0)(tower.embed(tower.normalise(pixels))).flatten(0, 1)
    fixed = whole[:, None].expand(-1, config.tokens).clone()
    if config.class_token:
        fixed[:, 0] = True
    fixed = fixed.flatten()
    slots = frames.slots[:, None].expand(-1, config.tokens).flatten()
    computed = [torch.full_like(frames.slots, config.tokens)]
    source = group.follows(0, packed)
    page = packed.page(source, group.row_of(0, packed))
    for index in range(1, config.layers):
        gate, own = index - 1, None
        if limits.gated(index):
            own = limits.keys(index, h)
            bound = limits.of(index, h, slots).masked_fill(fixed, -1.0)
            keys = group.rows(gate, own)
            follows, source = choose_roots(
                keys, group.row_of(gate, packed), roots.compared_at(index),
                group.follows(gate, packed),
                F.pad(bound, (len(keys) - len(own), 0), value=-1.0),
                SOURCES[: frames.num_slots],
            )  # fmt: skip
            kept = packed.narrow(follows, source)
            h, own, fixed, slots = h.index_select(0, kept), own[kept], fixed[kept], slots[kept]
            page = packed.page(source, group.row_of(gate, packed))
        computed.append(packed.counts())
        h, fresh = _run_layer(tower, index, h, packed, page, roots, group)
        group.keep(gate, packed, own, fresh, more=more)
    if config.by_class:
        embeddings = tower.finish(h)
    else:
        outputs = group.outputs = h if group.outputs is None else torch.cat([group.outputs, h])
        embeddings = tower.finish(extend(roots.outputs[0], outputs)[page])
    return Stepped(embeddings, torch.stack(computed, 1))


def _run_layer(
    tower: VisionTower,
    index: int,
    h: Tensor,
    packed: PackedTokens,
    page: Tensor,
    roots: RootTable,
    group: Group,
) -> tuple[Tensor, Tensor]:
    """Run a layer on the packed rows; the last one for class tokens alone, where they are pooled.

    Returns the rows after it, and their keys and values in it.
    """
    config, layer, gate = tower.config, tower.layer(index), index - 1
    width, counts = config.width, packed.counts()
    if config.by_class and index == config.layers - 1:
        normed = layer.norm1(h)
        fresh = some_columns(layer.qkv, normed, slice(width, None))
        first = (packed.homes % config.tokens == 0).nonzero().squeeze(1)
        q = some_columns(layer.qkv, normed[first], slice(width))
        h, counts = h[first], torch.ones_like(counts)
    else:
        q, fresh = layer.project(h, packed.homes % config.tokens).split([width, 2 * width], dim=1)
    table = extend(roots.keys_values[gate], group.keys_values(gate, fresh))
    starts = F.pad(counts.cumsum(0), (1, 0)).int()
    return layer.finish(h, paged_attention(q, starts, table, page.int(), config.heads)), fresh


def step_macs(
    config: VisionConfig, limits: FixedLimits | LearnedLimits, computed: Tensor, candidates: Tensor
) -> Tensor:
    """Multiply-accumulates done for each frame, float64 `[F]`, by the rows really multiplied.

    Args:
        config: the tower's shape.
        limits: what the gates compare.
        computed: tokens computed in each layer, `[F, L]`.
        candidates: roots that each token of a frame was compared with, `[F]`; 0 for a full frame.
    """
    rows = computed.double()
    middle = rows[:, : config.layers - 1] if config.by_class else rows
    token = project_macs(config, 1) + attend_macs(config, 1) + finish_macs(config, 1)
    total = embed_macs(config) + head_macs(config) + middle.sum(1) * token
    if config.by_class:
        q, kv = config.width**2, 2 * config.width**2
        total = total + rows[:, -1] * kv + q + attend_macs(config, 1) + finish_macs(config, 1)
    gates = [index - 1 for index in limits.gates]
    compared = (computed[:, gates] - int(config.class_token)).sum(1) * candidates
    return total + limits.macs(config, computed, compared)
