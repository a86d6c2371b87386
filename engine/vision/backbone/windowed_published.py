"""ViTDet towers as detectron2 publishes them, as a folder in Hugging Face's format."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from engine.errors import ModelError, UsageError
from engine.vision.backbone.folder import write_folder
from engine.vision.backbone.published import read_published

_STEM = "backbone.net."
_OUTER = {
    "patch_embed.proj.weight": "embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.projection.bias",
    "pos_embed": "embeddings.position_embeddings",
}
_INNER = (
    *("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"),
    *("attn.qkv.weight", "attn.qkv.bias", "attn.proj.weight", "attn.proj.bias"),
    *("attn.rel_pos_h", "attn.rel_pos_w"),
    *("mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight", "mlp.fc2.bias"),
)
_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")


def import_windowed(path: Path, folder: Path, *, size: int | None = None) -> tuple[str, ...]:
    """Write the tower of a `.pth` file to a folder that `load_windowed` takes.

    Args:
        path: of a detector with names as detectron2 has them. No code in it is run.
        folder: to be written.
        size: edge of the pictures that it is to take, to which tables of relative positions are
            interpolated; None: as it was trained.

    Returns:
        Names that are not of the tower, of the pyramid and the heads, which are left out.

    Raises:
        ModelError: a tensor of the tower is missing, unknown or of another shape.
    """
    state = read_published(path, ("model",))
    own = {name.removeprefix(_STEM): t for name, t in state.items() if name.startswith(_STEM)}
    if "patch_embed.proj.weight" not in own or "pos_embed" not in own:
        raise ModelError(f"{path} lacks {_STEM}patch_embed.proj.weight or {_STEM}pos_embed")
    named, layers = _renamed(own)
    width, _, patch, _ = own["patch_embed.proj.weight"].shape
    reaches = [len(own[f"blocks.{at}.attn.rel_pos_h"]) for at in range(layers)]
    window = (min(reaches) + 1) // 2
    windowed = [at for at, reach in enumerate(reaches) if reach < max(reaches)]
    side = (max(reaches) + 1) // 2 if size is None else size // patch
    if size is not None and size % patch:
        raise UsageError(f"size {size}; allowed: a multiple of {patch}")
    for at in range(layers):
        for kind in ("h", "w"):
            name = f"encoder.layer.{at}.attention.rel_pos_{kind}"
            reach = 2 * (window if at in windowed else side) - 1
            named[name] = _fitted(named[name], reach)
    trained = round((own["pos_embed"].shape[1] - 1) ** 0.5)
    config = {
        "model_type": "vitdet",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // own["blocks.0.attn.rel_pos_h"].shape[1],
        "mlp_ratio": len(own["blocks.0.mlp.fc1.weight"]) // width,
        "image_size": side * patch,
        "pretrain_image_size": trained * patch,
        "patch_size": patch,
        "window_size": window if windowed else 0,
        "window_block_indices": windowed,
        "residual_block_indices": [],
        "use_absolute_position_embeddings": True,
        "use_relative_position_embeddings": True,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
    }
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": side * patch, "width": side * patch},
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    write_folder(folder, config, processor, named, torch.float32)
    return tuple(name for name in state if not name.startswith(_STEM))


def _renamed(own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """Names of Hugging Face, and how many layers there are; every layer has all of its parts."""
    named, parts = {}, dict[int, set[str]]()
    for name, tensor in own.items():
        found = _BLOCK.fullmatch(name)
        if name in _OUTER:
            named[_OUTER[name]] = tensor
        elif found and found[2] in _INNER:
            parts.setdefault(int(found[1]), set()).add(found[2])
            part = found[2].replace("attn.", "attention.")
            named[f"encoder.layer.{found[1]}.{part}"] = tensor
        else:
            raise ModelError(f"unknown tensor {_STEM + name!r} in the checkpoint")
    layers = max(parts, default=-1) + 1
    for at in range(layers):
        if lacking := sorted(set(_INNER) - parts.get(at, set())):
            raise ModelError(f"the checkpoint lacks {_STEM}blocks.{at}.{lacking[0]}")
    if not layers:
        raise ModelError(f"the checkpoint lacks {_STEM}blocks.0.{_INNER[0]}")
    return named, layers


def _fitted(table: Tensor, reach: int) -> Tensor:
    """Relative positions `[R, C]` at another size, interpolated as detectron2 does."""
    if len(table) == reach:
        return table
    wide = torch.nn.functional.interpolate(table.T[None].float(), size=reach, mode="linear")
    return wide[0].T.contiguous()
