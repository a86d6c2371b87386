"""ViTDet's tower: a vision transformer most of whose layers see windows, for detectors."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.errors import ModelError
from engine.vision.backbone.tower import Activation, Layer
from engine.vision.backbone.weights import (
    activation_of,
    fill,
    read_config,
    read_tensors,
    weight_files,
)

_OUTER = {
    "embeddings.projection.weight": "patch.weight",
    "embeddings.projection.bias": "patch.bias",
    "embeddings.position_embeddings": "position",
    "embeddings.pre_layernorm.weight": "pre.weight",
    "embeddings.pre_layernorm.bias": "pre.bias",
}
_INNER = {
    "norm1": "norm1",
    "attention.qkv": "qkv",
    "attention.proj": "out",
    "norm2": "norm2",
    "mlp.fc1": "up",
    "mlp.fc2": "down",
}


@dataclass(frozen=True, slots=True)
class WindowedConfig:
    """Shape of a tower of this kind."""

    layers: int
    width: int
    heads: int
    mlp: int
    patch: int
    side: int  # patches along an edge of the pictures that it takes
    trained: int  # patches along an edge in the table of positions
    window: int  # patches along an edge of a window
    windowed: frozenset[int]  # layers that see windows
    relative: bool  # positions relative to each other are added to attention
    activation: Activation = "gelu"
    eps: float = 1e-6
    pre_norm: bool = False  # CLIP's LayerNorm between the embeddings and layer 0

    @property
    def tokens(self) -> int:
        """Tokens of a picture: its patches."""
        return self.side**2


class WindowedLayer(Layer):
    """A layer whose tokens attend within windows of so many patches a side, or everywhere."""

    def __init__(self, config: WindowedConfig, window: int) -> None:
        super().__init__(config)
        self.side, self.window = config.side, window
        self.relative = config.relative
        if config.relative:
            reach = 2 * (window or config.side) - 1
            self.down_by = nn.Parameter(torch.zeros(reach, config.width // config.heads))
            self.right_by = nn.Parameter(torch.zeros(reach, config.width // config.heads))

    def attend(self, qkv: Tensor, bias: Tensor | None = None) -> Tensor:
        """Pre-projection P `[B, N, D]` of all tokens, by row and column."""
        assert bias is None
        if not self.window and not self.relative:
            return super().attend(qkv)
        if not self.window:
            return self.attend_from(qkv, torch.arange(qkv.shape[1], device=qkv.device))[0]
        windows = self.into_windows(qkv)
        mixed = self.attend_from(windows, torch.arange(self.window**2, device=qkv.device))[0]
        return self.from_windows(mixed, len(qkv))

    def into_windows(self, qkv: Tensor) -> Tensor:
        """Rows `[B, N, 3D]` by window, `[B W, edge², 3D]`."""
        side, edge = self.side, self.window
        pad = -side % edge
        across = (side + pad) // edge
        # behind the picture's edge there are tokens too, of zeros before the product
        grid = qkv.unflatten(1, (side, side))
        if pad:
            outside = self.qkv.bias.expand(len(qkv), side + pad, side + pad, -1).clone()
            outside[:, :side, :side] = grid
            grid = outside
        cells = grid.reshape(len(qkv), across, edge, across, edge, -1).transpose(2, 3)
        return cells.reshape(len(qkv) * across**2, edge**2, -1)

    def from_windows(self, mixed: Tensor, batch: int) -> Tensor:
        """Rows `[B W, edge², D]` of windows by row and column of the picture, `[B, N, D]`."""
        side, edge = self.side, self.window
        across = -(-side // edge)
        back = mixed.reshape(batch, across, across, edge, edge, -1).transpose(2, 3)
        whole = back.reshape(batch, across * edge, across * edge, -1)
        return whole[:, :side, :side].flatten(1, 2)

    def attend_from(self, qkv: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """P `[B, K, D]` of the tokens at some places, and their weights `[B, H, K, N]`.

        Args:
            qkv: of all tokens of a square `[B, N, 3D]`.
            places: int64 `[K]` of all, or `[B, K]`.
        """
        batch, tokens, _ = qkv.shape
        q, k, v = qkv.view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        places = places.expand(batch, -1)
        index = places[:, None, :, None].expand(-1, self.heads, -1, q.shape[-1])
        q = q.gather(2, index)
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if self.relative:
            scores = scores + self._relative(q, places, math.isqrt(tokens))
        weights = scores.softmax(-1)
        return (weights @ v).transpose(1, 2).flatten(2), weights

    def _relative(self, q: Tensor, places: Tensor, side: int) -> Tensor:
        """What is added to scores `[B, H, K, N]` for how far a key is below and to the right."""
        added = []
        for table, at in ((self.down_by, places // side), (self.right_by, places % side)):
            near = at[..., None] - torch.arange(side, device=at.device) + side - 1  # [B, K, side]
            added.append(torch.einsum("bhkc,bksc->bhks", q, table[near]))
        return (added[0][..., :, None] + added[1][..., None, :]).flatten(3)


class WindowedTower(nn.Module):
    """Normalised square pictures `[B, 3, S, S]` to their tokens `[B, N, D]`, by row and column."""

    def __init__(self, config: WindowedConfig) -> None:
        super().__init__()
        self.config = config
        self.patch = nn.Linear(3 * config.patch**2, config.width)
        self.position = nn.Parameter(torch.zeros(1 + config.trained**2, config.width))
        self.pre = nn.LayerNorm(config.width, eps=config.eps) if config.pre_norm else nn.Identity()
        self.layers = nn.ModuleList(
            WindowedLayer(config, config.window if index in config.windowed else 0)
            for index in range(config.layers)
        )

    def layer(self, index: int) -> WindowedLayer:
        """Return layer `index`, typed."""
        layer = self.layers[index]
        assert isinstance(layer, WindowedLayer)
        return layer

    def cut(self, values: Tensor) -> Tensor:
        """Patch embeddings `[B, N, D]`, before positions are added."""
        side, edge = self.config.side, self.config.patch
        grid = values.reshape(len(values), 3, side, edge, side, edge).permute(0, 2, 4, 1, 3, 5)
        embedded: Tensor = self.patch(grid.reshape(len(values), side * side, -1))
        return embedded

    def place(self, embedded: Tensor) -> Tensor:
        """Add the positions, and norm where asked."""
        placed: Tensor = self.pre(embedded + self.table())
        return placed

    def table(self) -> Tensor:
        """Positions `[N, D]`, interpolated where they were trained for another size."""
        config = self.config
        table = self.position[1:]
        if config.trained != config.side:
            grid = table.T.reshape(1, config.width, config.trained, config.trained)
            size = (config.side, config.side)
            wide = F.interpolate(grid, size, mode="bicubic", align_corners=False)
            table = wide[0].flatten(1).T
        return table

    def forward(self, values: Tensor) -> Tensor:
        """Compute all tokens."""
        h = self.place(self.cut(values))
        for index in range(self.config.layers):
            h = self.layer(index)(h)
        return h


def load_windowed(folder: Path) -> WindowedTower:
    """Load a ViTDet tower from a folder in Hugging Face's format; safetensors only."""
    shape = windowed_shape(read_config(folder), folder)
    tensors = read_tensors(weight_files(folder))
    return fill(WindowedTower, shape, rename_windowed(tensors), "tower")


def windowed_shape(config: Mapping[str, Any], folder: Path) -> WindowedConfig:
    """Read the shape from a configuration; raises ModelError for what our layers do not do."""
    if config.get("model_type") != "vitdet":
        raise ModelError(f"{folder}: model type {config.get('model_type')!r}; allowed: vitdet")
    edges = {name: config[name] for name in ("image_size", "pretrain_image_size", "patch_size")}
    if wrong := next((name for name, edge in edges.items() if not isinstance(edge, int)), None):
        raise ModelError(f"{wrong} {edges[wrong]} of a ViTDet; allowed: one number, for squares")
    if config["residual_block_indices"]:
        raise ModelError("residual blocks of a ViTDet; allowed: none, its layers see windows")
    if not config["use_absolute_position_embeddings"]:
        raise ModelError("a ViTDet without absolute positions; allowed: with them")
    patch = edges["patch_size"]
    return WindowedConfig(
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        mlp=int(config["hidden_size"] * config["mlp_ratio"]),
        patch=patch,
        side=edges["image_size"] // patch,
        trained=edges["pretrain_image_size"] // patch,
        window=config["window_size"],
        windowed=frozenset(config["window_block_indices"]),
        relative=config["use_relative_position_embeddings"],
        activation=activation_of(config["hidden_act"]),
        eps=config["layer_norm_eps"],
        pre_norm=config.get("pre_norm", False),
    )


def rename_windowed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by our names and in our shapes."""
    return {_rename(name): _flat(name, tensor) for name, tensor in tensors.items()}


def name_windowed(tower: WindowedTower) -> dict[str, Tensor]:
    """Return a tower's tensors by Hugging Face's names and in its shapes."""
    outer = {ours: theirs for theirs, ours in _OUTER.items()}
    inner = {ours: theirs for theirs, ours in _INNER.items()}
    edge, named = tower.config.patch, {}
    for name, tensor in tower.state_dict().items():
        if name == "patch.weight":
            named[outer[name]] = tensor.unflatten(1, (3, edge, edge))
        elif name == "position":
            named[outer[name]] = tensor[None]
        elif name in outer:
            named[outer[name]] = tensor
        else:
            _, index, part, *kind = name.split(".")
            beside = "h" if part == "down_by" else "w"
            there = f"{inner[part]}.{kind[0]}" if kind else f"attention.rel_pos_{beside}"
            named[f"encoder.layer.{index}.{there}"] = tensor
    return named


def _rename(name: str) -> str:
    if name in _OUTER:
        return _OUTER[name]
    found = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)", name)
    if found and found[2] in _INNER:
        return f"layers.{found[1]}.{_INNER[found[2]]}.{found[3]}"
    if found := re.fullmatch(r"encoder\.layer\.(\d+)\.attention\.rel_pos_([hw])", name):
        return f"layers.{found[1]}.{'down_by' if found[2] == 'h' else 'right_by'}"
    raise ModelError(f"unknown tensor {name!r} in the checkpoint")


def _flat(name: str, tensor: Tensor) -> Tensor:
    if name == "embeddings.projection.weight":
        return tensor.flatten(1)
    return tensor[0] if name == "embeddings.position_embeddings" else tensor
