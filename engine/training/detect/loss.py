"""What a detector that reads patches learns: which patch tells which object, and how well."""

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.training.detect.data import UNTOLD, Pictures
from engine.vision.backbone.dense import PatchRead, overlap

CENTRAL = 0.35  # of a box's width and height, how far off its middle a patch tells it
LEAST_SEEN = 0.3  # share of an object that is to be seen, below which it is neither right nor wrong
NEAR = 0.55  # of a patch, how far off a middle one tells it however small the box


def detection_loss(read: PatchRead, truth: Pictures, side: int) -> Tensor:
    """Sum the losses of things, boxes and attributes, by the number of patches that tell one.

    How sure a patch is to be that a thing is there is how well its box fits.
    """
    owner, ignored = assign(truth, side)
    told = owner >= 0
    index = owner.clamp(min=0)
    boxes = truth.boxes.gather(1, index[..., None].expand(-1, -1, 4))[told]
    count = max(1, len(boxes))
    fits = overlap(read.boxes[told], boxes)
    target = torch.zeros_like(read.thing)
    target[told] = fits.detach()
    sure = F.binary_cross_entropy_with_logits(read.thing, target, reduction="none")
    weight = (read.thing.detach().sigmoid() - target).square() * ~ignored
    loss = (sure * weight).sum() / count
    loss = loss + 2 * (1 - fits + _apart(read.boxes[told], boxes)).sum() / count
    for at, logits in enumerate(read.attributes):
        meant = truth.attributes[..., at].gather(1, index)[told]
        loss = (
            loss
            + 0.5
            * F.cross_entropy(logits[told], meant, ignore_index=UNTOLD, reduction="sum")
            / count
        )
    return loss


def assign(truth: Pictures, side: int) -> tuple[Tensor, Tensor]:
    """Return which object each patch tells `[B, N]`, -1: none, and which patches do not count.

    A patch near the middle of several objects tells the one whose middle is nearest by its size.
    Patches in what is hardly to be seen count neither for a thing nor against it.
    """
    middles = (torch.arange(side, device=truth.boxes.device) + 0.5) / side
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    place = torch.stack([x, y], dim=-1).flatten(0, 1)[None, :, None]  # [1, N, 1, 2]
    low, high = truth.boxes[:, None, :, :2], truth.boxes[:, None, :, 2:]
    middle, extent = (low + high) / 2, high - low
    off = (place - middle).abs()
    reach = torch.maximum(CENTRAL * extent, torch.full_like(extent, NEAR / side))
    seen = (truth.visible >= LEAST_SEEN)[:, None]
    central = (off <= reach).all(-1) & seen
    far = (off / reach).amax(-1).masked_fill(~central, torch.inf)
    best, owner = far.min(2)
    owner = owner.masked_fill(best.isinf(), -1)
    hidden = ((place >= low) & (place <= high)).all(-1)
    hidden &= ((truth.visible > 0) & (truth.visible < LEAST_SEEN))[:, None]
    return owner, hidden.any(2) & (owner < 0)


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """Share of the smallest box around both that neither covers, which draws them together."""
    low, high = torch.minimum(one[:, :2], other[:, :2]), torch.maximum(one[:, 2:], other[:, 2:])
    around = (high - low).prod(-1).clamp(min=1e-9)
    areas = [(box[:, 2:] - box[:, :2]).prod(-1) for box in (one, other)]
    inner_low = torch.maximum(one[:, :2], other[:, :2])
    inner_high = torch.minimum(one[:, 2:], other[:, 2:])
    joint = areas[0] + areas[1] - (inner_high - inner_low).clamp(min=0).prod(-1)
    return (around - joint) / around
