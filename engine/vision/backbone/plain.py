"""A plain vision transformer, such as DeiT: pictures only, no text tower."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.errors import ModelError
from engine.vision.backbone.locate import read_json
from engine.vision.backbone.preprocess import Preprocessing
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.backbone.vit_names import rename_vit
from engine.vision.backbone.weights import (
    activation_of,
    fill,
    read_config,
    read_tensors,
    weight_files,
)

_LAYER = {
    "norm1": "norm1",
    "attn.qkv": "qkv",
    "attn.proj": "out",
    "norm2": "norm2",
    "mlp.fc1": "up",
    "mlp.fc2": "down",
}


def load_plain(path: Path, *, heads: int | None = None) -> VisionTower:
    """Load a folder in Hugging Face's format, or an `.npz` of timm-named weights.

    The embedding is the class token after the last norm; the classifier is left out. Heads of an
    `.npz` are 64 wide unless given.
    """
    if path.is_dir():
        return _load_folder(path)
    if not path.is_file():
        raise ModelError(
            f"no plain ViT weights at {path}; allowed: a folder in Hugging Face's format, or an "
            ".npz file with timm's names"
        )
    with np.load(path) as stored:
        arrays = {name: torch.from_numpy(stored[name]) for name in stored.files}
    missing = [name for name in ("patch_embed.proj.weight", "pos_embed") if name not in arrays]
    if missing:
        raise ModelError(f"{path} lacks {', '.join(missing)}; allowed: timm's names for a ViT")
    tower = VisionTower(_config(arrays, heads))
    tower.load_state_dict(_rename(arrays, tower.config.layers))
    return tower.eval().requires_grad_(False)


def load_classes(path: Path) -> Tensor | None:
    """Return the classifier's weights `[C, D]`, where the file has them; its bias is left out."""
    if path.is_dir():
        return read_tensors(weight_files(path)).get("classifier.weight")
    with np.load(path) as stored:
        return torch.from_numpy(stored["head.weight"]) if "head.weight" in stored.files else None


def _load_folder(folder: Path) -> VisionTower:
    """Read a `vit` of Hugging Face's; its `deit` has a second class token, for distillation."""
    kind = read_json(folder / "config.json").get("model_type")
    if kind != "vit":
        raise ModelError(f"{folder}: model type {kind!r} of a plain ViT; allowed: vit")
    config = read_config(folder)
    preprocessing = Preprocessing.from_config(read_json(folder / "preprocessor_config.json"))
    shape = VisionConfig(
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        mlp=config["intermediate_size"],
        patch=config["patch_size"],
        image_size=config["image_size"],
        dimension=config["hidden_size"],
        activation=activation_of(config["hidden_act"]),
        eps=config["layer_norm_eps"],
        pre_norm=False,
        patch_bias=True,
        projection=False,
        mean=preprocessing.mean,
        std=preprocessing.std,
    )
    tensors = rename_vit(read_tensors(weight_files(folder)), "vit")
    inner = {name: tensor for name, tensor in tensors.items() if not name.startswith("head.")}
    return fill(VisionTower, shape, inner, "vision tower")


def _config(arrays: Mapping[str, Tensor], heads: int | None) -> VisionConfig:
    width, _, patch, _ = arrays["patch_embed.proj.weight"].shape
    tokens = arrays["pos_embed"].shape[1] - 1
    return VisionConfig(
        layers=1 + max(int(name.split(".")[1]) for name in arrays if name.startswith("blocks.")),
        width=width,
        heads=heads or width // 64,
        mlp=arrays["blocks.0.mlp.fc1.weight"].shape[0],
        patch=patch,
        image_size=round(tokens**0.5) * patch,
        dimension=width,
        activation="gelu",
        eps=1e-6,
        pre_norm=False,
        patch_bias=True,
        projection=False,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )


def _rename(arrays: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    renamed = {
        "patch.weight": arrays["patch_embed.proj.weight"].flatten(1),
        "patch.bias": arrays["patch_embed.proj.bias"],
        "position": arrays["pos_embed"][0],
        "class_token": arrays["cls_token"].flatten(),
        "post.weight": arrays["norm.weight"],
        "post.bias": arrays["norm.bias"],
    }
    for index in range(layers):
        for theirs, ours in _LAYER.items():
            for kind in ("weight", "bias"):
                renamed[f"layers.{index}.{ours}.{kind}"] = arrays[f"blocks.{index}.{theirs}.{kind}"]
    return renamed
