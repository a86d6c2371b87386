"""Fine-tuned VideoMAE checkpoints as their authors publish them, by our names."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from engine.errors import ModelError
from engine.vision.backbone.published import read_published
from engine.vision.backbone.video import VideoConfig, VideoTower, sine_positions
from engine.vision.backbone.weights import fill

_OUTER = {
    "patch_embed.proj.weight": "patch.weight",
    "patch_embed.proj.bias": "patch.bias",
    "fc_norm.weight": "post.weight",
    "fc_norm.bias": "post.bias",
    "head.weight": "head.weight",
    "head.bias": "head.bias",
}
_INNER = {
    "norm1": "norm1",
    "attn.proj": "out",
    "norm2": "norm2",
    "mlp.fc1": "up",
    "mlp.fc2": "down",
}
_HEADS = {1280: 16}  # of the published sizes by their width; the others have one for 64


def read_videomae(path: Path, *, frames: int, size: int) -> VideoTower:
    """Read a `.pth` file; its shapes tell the rest of the configuration. No code in it is run.

    Raises ModelError naming a tensor that is missing, left over or of another shape.
    """
    named = read_published(path, ("module", "model"))
    state = {name.removeprefix("module."): tensor for name, tensor in named.items()}
    for name in ("patch_embed.proj.weight", "head.weight", "blocks.0.mlp.fc1.weight"):
        if name not in state:
            raise ModelError(f"{path} lacks {name}; allowed: a fine-tuned VideoMAE classifier")
    width, _, tubelet, patch, _ = state["patch_embed.proj.weight"].shape
    if frames % tubelet or size % patch:
        raise ModelError(
            f"{frames} frames of {size} pixels in tubelets of {tubelet} and patches of {patch}; "
            "allowed: whole ones"
        )
    shape = VideoConfig(
        layers=1 + max(int(found[1]) for name in state if (found := _BLOCK.match(name))),
        width=width,
        heads=_HEADS.get(width, width // 64),
        mlp=len(state["blocks.0.mlp.fc1.weight"]),
        patch=patch,
        tubelet=tubelet,
        image_size=size,
        num_frames=frames,
        classes=len(state["head.weight"]),
        eps=1e-6,
    )
    return fill(VideoTower, shape, _renamed(state, shape), "video tower")


_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")


def _renamed(state: Mapping[str, Tensor], shape: VideoConfig) -> dict[str, Tensor]:
    """Our names; keys have no bias there, which is one of zeros."""
    told = {"position": sine_positions(shape.tokens, shape.width)}
    for name, tensor in state.items():
        if name in _OUTER:
            told[_OUTER[name]] = tensor.flatten(1) if tensor.ndim > 2 else tensor
            continue
        found = _BLOCK.fullmatch(name)
        part, _, kind = found[2].rpartition(".") if found else ("", "", "")
        if found and part in _INNER:
            told[f"layers.{found[1]}.{_INNER[part]}.{kind}"] = tensor
        elif found and found[2] == "attn.qkv.weight":
            told[f"layers.{found[1]}.qkv.weight"] = tensor
        elif found and found[2] == "attn.q_bias":
            values = state.get(f"blocks.{found[1]}.attn.v_bias")
            if values is None:
                raise ModelError(f"the checkpoint lacks blocks.{found[1]}.attn.v_bias")
            joined = torch.cat([tensor, torch.zeros_like(tensor), values])
            told[f"layers.{found[1]}.qkv.bias"] = joined
        elif not (found and found[2] == "attn.v_bias"):
            raise ModelError(f"unknown tensor {name!r} in the checkpoint")
    return told
