"""The forward for training: every branch of every token, mixed by soft or imposed shares."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.training.reusevit.pattern import Pattern
from engine.vision.backbone.importance import attend
from engine.vision.backbone.tower import VisionTower
from engine.vision.reusevit.gating import Decide, Gated
from engine.vision.reusevit.modules import ReuseModules


@dataclass(frozen=True, slots=True)
class SoftReused:
    """What a clip's frames became."""

    embeddings: Tensor  # [B, F, E], projected, not normalised
    shares: Tensor  # [B, F, L - 1, N]; zero for the full frame and the class token
    hidden: list[Tensor]  # L - 1 times [B, F, N, D]: the input of layer 1, 2, ... as gated
    last: Tensor  # [B, F, N, D], the output of the last layer


Policy = Callable[[int, int], Decide]  # gate and slot to how its shares are decided


def encode_clips(
    tower: VisionTower,
    modules: ReuseModules,
    values: Tensor,
    cues: Tensor | None,
    pattern: Pattern,
    policy: Policy,
) -> SoftReused:
    """Encode clips slot by slot within each layer, computing everything.

    Args:
        tower: the frozen backbone.
        modules: what is trained.
        values: normalised frames in slot order, `[B, F, 3, S, S]`.
        cues: `[B, F, patches]` from the codec net, or None for zeros.
        pattern: the slots' references and kinds.
        policy: decides the shares.
    """
    clips, slots = values.shape[:2]
    config = tower.config
    fixed = int(config.class_token)
    h = tower.embed(values.flatten(0, 1))
    qkv = tower.layer(0).project(h)
    shares, hidden = [], []
    if cues is None:
        cues = h.new_zeros(clips, slots, config.tokens - fixed)
    cues = F.pad(cues.float(), (fixed, 0))
    for index in range(config.layers - 1):
        layer = tower.layer(index)
        mixed, importance = attend(layer, qkv, class_token=config.class_token)
        own_h = layer.finish(h, mixed)
        own = torch.cat([own_h, tower.layer(index + 1).project(own_h)], -1).float()
        frames = (
            mixed.float().unflatten(0, (clips, slots)),
            own.unflatten(0, (clips, slots)),
            importance.unflatten(0, (clips, slots)),
            cues,
        )
        gated = _gate(modules, index, frames, pattern, policy)
        states = torch.stack([each.states for each in gated], 1).flatten(0, 1)
        shares.append(torch.stack([each.share for each in gated], 1))
        h, qkv = states.split([config.width, 3 * config.width], -1)
        hidden.append(h.unflatten(0, (clips, slots)))
    last = tower.layer(config.layers - 1)
    h = last.finish(h, last.attend(qkv))
    return SoftReused(
        tower.finish(h).unflatten(0, (clips, slots)),
        torch.stack(shares, 2),
        hidden,
        h.unflatten(0, (clips, slots)),
    )


def _gate(
    modules: ReuseModules,
    index: int,
    frames: tuple[Tensor, Tensor, Tensor, Tensor],
    pattern: Pattern,
    policy: Policy,
) -> list[Gated]:
    mixed, own, importance, cues = frames
    zero = importance.new_zeros(importance[:, 0].shape)
    done = [Gated(share=zero, mixed=mixed[:, 0], states=own[:, 0], roots=own[:, 0])]
    kinds = torch.eye(3, device=mixed.device)
    for slot in range(1, pattern.num):
        references = []
        for at in pattern.references[slot]:
            within = pattern.groups[at] == pattern.groups[slot]
            offered = done[at].offered(modules.config.chain, within=within)
            references.append((done[at].mixed, offered))
        features = (importance[:, slot], cues[:, slot], kinds[pattern.kinds[slot]])
        gate = modules.gate(index)
        done.append(gate(mixed[:, slot], own[:, slot], features, references, policy(index, slot)))
    return done
