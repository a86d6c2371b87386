"""CLIP4Clip's sequence head (`seqTransf`) from a checkpoint of the published code, by name."""

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.errors import ModelError
from engine.search.sequence import SequenceConfig, SequenceHead
from engine.vision.backbone.published import read_published
from engine.vision.backbone.tower import VisionTower

HEAD = 64  # numbers of an attention head, as of all published CLIPs' texts
ROUNDED = (1e-3, 1e-5)  # what half precision may have moved a weight by, relative and at all
POSITION = "frame_position_embeddings.weight"
_LAYER = re.compile(r"transformerClip\.resblocks\.(\d+)\.")
_OTHERS = ("lstm_visual.", "cross.")
_NAMES = {
    "attend.in_proj_weight": "attn.in_proj_weight",
    "attend.in_proj_bias": "attn.in_proj_bias",
    "attend.out_proj.weight": "attn.out_proj.weight",
    "attend.out_proj.bias": "attn.out_proj.bias",
    "norm1.weight": "ln_1.weight",
    "norm1.bias": "ln_1.bias",
    "up.weight": "mlp.c_fc.weight",
    "up.bias": "mlp.c_fc.bias",
    "down.weight": "mlp.c_proj.weight",
    "down.bias": "mlp.c_proj.bias",
    "norm2.weight": "ln_2.weight",
    "norm2.bias": "ln_2.bias",
}


def import_sequence(path: Path, tower: VisionTower) -> SequenceHead:
    """Read the head of a published checkpoint, all of it or nothing.

    Such a checkpoint also holds the towers that were trained with its head: one whose image tower
    is not `tower` is refused, because the head has not learned to read that tower's vectors.
    """
    tensors = read_published(path)
    layers = {int(found[1]) for name in tensors if (found := _LAYER.match(name))}
    if POSITION not in tensors or not layers:
        other = next((n for n in tensors if n.startswith(_OTHERS)), "")
        told = f"; it has {other.partition('.')[0]}, of another kind of head" if other else ""
        raise ModelError(f"{path}: no sequence head ({POSITION}, transformerClip.…){told}")
    places, width = tensors[POSITION].shape
    if width != tower.config.dimension or width % HEAD:
        raise ModelError(
            f"{path}: a head for vectors of {width}; this model's have {tower.config.dimension}"
        )
    config = SequenceConfig(width, width // HEAD, max(layers) + 1, places, unit=False)
    head = SequenceHead(config)
    own = {"position.weight": POSITION} | {
        f"layers.{at}.{ours}": f"transformerClip.resblocks.{at}.{theirs}"
        for at in range(config.layers)
        for ours, theirs in _NAMES.items()
    }
    if missing := [name for name in own.values() if name not in tensors]:
        raise ModelError(f"{path}: {len(missing)} tensors are missing, first {missing[0]}")
    for ours, theirs in own.items():
        expected = list(head.state_dict()[ours].shape)
        if list(tensors[theirs].shape) != expected:
            raise ModelError(
                f"{path}: {theirs}: expected {expected}, got {list(tensors[theirs].shape)}"
            )
    _check_tower(path, tensors, tower)
    head.load_state_dict({ours: tensors[theirs].float() for ours, theirs in own.items()})
    return head.eval().requires_grad_(False)


def _check_tower(path: Path, tensors: dict[str, Tensor], tower: VisionTower) -> None:
    """Compare where the towers begin and end: training with a head moves both."""
    pairs = {
        "clip.visual.conv1.weight": tower.product.weight,
        "clip.visual.proj": tower.head.weight.T if isinstance(tower.head, nn.Linear) else None,
    }
    for name, ours in pairs.items():
        theirs = tensors.get(name)
        if theirs is None or ours is None:
            raise ModelError(f"{path}: no {name}, by which to know whose vectors the head reads")
        theirs = theirs.float().reshape(theirs.shape[0], -1)
        ours = ours.detach().float().cpu().reshape(ours.shape[0], -1)
        if theirs.shape != ours.shape or not torch.allclose(theirs, ours, *ROUNDED):
            raise ModelError(
                f"{path}: its head was trained with another tower than this model's ({name} "
                "differs); give the model that holds the checkpoint's own towers"
            )
