"""ViViT's factorised encoder in files: folders of ours, and checkpoints as published."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.errors import ModelError
from engine.vision.backbone.factorised import FactorisedConfig, FactorisedTower, spatial_shape
from engine.vision.backbone.folder import write_folder
from engine.vision.backbone.published import read_published
from engine.vision.backbone.weights import fill

MODEL_TYPE = "vivit_factorised"
_OUTER = {
    "backbone.stem.conv1.weight": "spatial.patch.weight",
    "backbone.stem.conv1.bias": "spatial.patch.bias",
    "backbone.cls_token": "spatial.class_token",
    "backbone.pos_embd": "spatial.position",
    "backbone.norm.weight": "spatial.post.weight",
    "backbone.norm.bias": "spatial.post.bias",
    "backbone.cls_token_out": "temporal.class_token",
    "backbone.temp_embd": "temporal.position",
    "backbone.norm_out.weight": "temporal.post.weight",
    "backbone.norm_out.bias": "temporal.post.bias",
    "head.linear.weight": "head.weight",
    "head.linear.bias": "head.bias",
}
_HALVES = {"layers": "spatial", "layers_temporal": "temporal"}
_INNER = {
    "norm": "norm1",
    "attn.to_qkv": "qkv",
    "attn.proj": "out",
    "norm_ffn": "norm2",
    "ffn.net.0": "up",
    "ffn.net.3": "down",
}
_LAYER = re.compile(r"backbone\.(layers|layers_temporal)\.(\d+)\.(.+)\.(weight|bias)")


def read_factorised(path: Path) -> FactorisedTower:
    """Read a `.pth` or `.pyth` file as TAdaConv publishes it; its shapes tell the configuration.

    Raises ModelError naming a tensor that is missing, left over or of another shape. No code in
    the file is run.
    """
    state = read_published(path, ("model_state", "model", "state_dict"))
    named = {_rename(name): tensor for name, tensor in state.items()}
    for name in ("spatial.patch.weight", "spatial.position", "temporal.position", "head.weight"):
        if name not in named:
            theirs = next(key for key, ours in _OUTER.items() if ours == name)
            raise ModelError(f"{path} lacks {theirs}; allowed: a factorised ViViT classifier")
    width, _, tubelet, patch, _ = named["spatial.patch.weight"].shape
    named["spatial.patch.weight"] = named["spatial.patch.weight"].flatten(1)
    for half in ("spatial", "temporal"):
        for name in (f"{half}.class_token", f"{half}.position"):
            if name in named:
                flat = named[name].flatten(0, -2)
                named[name] = flat[0] if name.endswith("class_token") else flat
    side = round((len(named["spatial.position"]) - 1) ** 0.5)
    up = named.get("spatial.layers.0.up.weight")
    if up is None:
        raise ModelError(f"{path} lacks backbone.layers.0.ffn.net.0.weight")
    shape = FactorisedConfig(
        spatial=spatial_shape(
            _layers(named, "spatial"), width, width // 64, len(up), patch, tubelet, side * patch
        ),
        num_frames=tubelet * (len(named["temporal.position"]) - 1),
        temporal_layers=_layers(named, "temporal"),
        classes=len(named["head.weight"]),
    )
    return fill(FactorisedTower, shape, named, "factorised ViViT")


def _rename(name: str) -> str:
    if name in _OUTER:
        return _OUTER[name]
    if (found := _LAYER.fullmatch(name)) and found[3] in _INNER:
        return f"{_HALVES[found[1]]}.layers.{found[2]}.{_INNER[found[3]]}.{found[4]}"
    raise ModelError(f"unknown tensor {name!r} in the checkpoint")


def _layers(named: Mapping[str, Tensor], half: str) -> int:
    return sum(
        re.fullmatch(rf"{half}\.layers\.\d+\.qkv\.weight", name) is not None for name in named
    )


def export_factorised(
    tower: FactorisedTower,
    labels: tuple[str, ...],
    fps: float,
    folder: Path,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write configuration, processor and weights; names of tensors are ours."""
    shape, spatial = tower.config, tower.config.spatial
    config = {
        "model_type": MODEL_TYPE,
        "hidden_size": spatial.width,
        "num_hidden_layers": spatial.layers,
        "num_temporal_layers": shape.temporal_layers,
        "num_attention_heads": spatial.heads,
        "intermediate_size": spatial.mlp,
        "image_size": spatial.image_size,
        "tubelet_size": [spatial.tubelet, spatial.patch, spatial.patch],
        "num_frames": shape.num_frames,
        "layer_norm_eps": spatial.eps,
        "id2label": {str(at): label for at, label in enumerate(labels)},
        "clip_fps": fps,
    }
    edge = {"height": spatial.image_size, "width": spatial.image_size}
    processor = {
        "image_processor_type": "VivitImageProcessor",
        "size": {"shortest_edge": spatial.image_size},
        "crop_size": edge,
        "resample": 2,
        "rescale_factor": 1 / 255,
        "image_mean": list(spatial.mean),
        "image_std": list(spatial.std),
    }
    write_folder(folder, config, processor, tower.state_dict(), dtype)


def factorised_shape(config: Mapping[str, Any], mean: Any, std: Any) -> FactorisedConfig:
    """Read the shape from such a folder's configuration."""
    try:
        tubelet, patch, _ = config["tubelet_size"]
        return FactorisedConfig(
            spatial=spatial_shape(
                config["num_hidden_layers"],
                config["hidden_size"],
                config["num_attention_heads"],
                config["intermediate_size"],
                patch,
                tubelet,
                config["image_size"],
                eps=config["layer_norm_eps"],
                mean=mean,
                std=std,
            ),
            num_frames=config["num_frames"],
            temporal_layers=config["num_temporal_layers"],
            classes=len(config["id2label"]),
        )
    except KeyError as error:
        raise ModelError(f"config.json of a {MODEL_TYPE} lacks {error}") from error
