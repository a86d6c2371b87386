"""The tower of YOLOS: a plain vision transformer whose last tokens each tell one object."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.errors import ModelError
from engine.vision.backbone.tower import Activation, Layer
from engine.vision.backbone.vit_names import rename_vit
from engine.vision.backbone.weights import activation_of

_HEADS = {"class_labels_classifier": "classes", "bbox_predictor": "boxes"}
_OUTER = {
    "vit.embeddings.detection_tokens": "detection",
    "vit.encoder.mid_position_embeddings": "middle",
}


@dataclass(frozen=True, slots=True)
class YolosConfig:
    """Shape of a detector of this family."""

    layers: int
    width: int
    heads: int
    mlp: int
    patch: int
    rows: int  # of patches in the table of positions
    columns: int
    objects: int  # tokens that each tell one
    classes: int  # one more says that there is nothing
    middle: bool  # every layer but the last adds a table of positions of its own
    activation: Activation = "gelu"
    eps: float = 1e-12

    @property
    def tokens(self) -> int:
        """Tokens of a picture of the size that the tables have."""
        return 1 + self.rows * self.columns + self.objects


class ObjectHead(nn.Module):
    """Three products with a ReLU between."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        sizes = [(width, width), (width, width), (width, outputs)]
        self.layers = nn.ModuleList(nn.Linear(*size) for size in sizes)

    def forward(self, rows: Tensor) -> Tensor:
        """Apply to rows `[..., D]`."""
        for layer in self.layers[:-1]:
            rows = layer(rows).relu()
        last: Tensor = self.layers[-1](rows)
        return last


class YolosTower(nn.Module):
    """Normalised pictures `[B, 3, H, W]` to class scores `[B, Q, C + 1]` and boxes `[B, Q, 4]`.

    A box is centre, width and height in shares of the picture.
    """

    def __init__(self, config: YolosConfig) -> None:
        super().__init__()
        self.config = config
        self.patch = nn.Linear(3 * config.patch**2, config.width)
        self.class_token = nn.Parameter(torch.zeros(config.width))
        self.detection = nn.Parameter(torch.zeros(config.objects, config.width))
        self.position = nn.Parameter(torch.zeros(config.tokens, config.width))
        if config.middle:
            shape = (config.layers - 1, config.tokens, config.width)
            self.middle = nn.Parameter(torch.zeros(shape))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.post = nn.LayerNorm(config.width, eps=config.eps)
        self.classes = ObjectHead(config.width, config.classes + 1)
        self.boxes = ObjectHead(config.width, 4)

    def embed(self, values: Tensor) -> Tensor:
        """Tokens h_0 `[B, N, D]`: the class token, the patches by row and column, the objects."""
        size = self.config.patch
        rows, columns = values.shape[-2] // size, values.shape[-1] // size
        used = values[..., : rows * size, : columns * size]
        grid = used.reshape(len(values), 3, rows, size, columns, size).permute(0, 2, 4, 1, 3, 5)
        patches = self.patch(grid.reshape(len(values), rows * columns, -1))
        first = self.class_token.expand(len(values), 1, -1)
        last = self.detection.expand(len(values), -1, -1)
        h = torch.cat([first, patches, last], dim=1)
        return h + self.place(self.position, rows, columns)

    def place(self, table: Tensor, rows: int, columns: int) -> Tensor:
        """Positions `[N, D]` of a picture of so many patches, interpolated from the table's."""
        config = self.config
        first, inner, last = table.split([1, config.rows * config.columns, config.objects])
        grid = inner.T.reshape(1, config.width, config.rows, config.columns)
        grid = F.interpolate(grid, (rows, columns), mode="bicubic", align_corners=False)
        return torch.cat([first, grid[0].flatten(1).T, last])

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Detect."""
        config = self.config
        rows, columns = (edge // config.patch for edge in values.shape[-2:])
        h = self.embed(values)
        for index, layer in enumerate(self.layers):
            h = layer(h)
            if config.middle and index < config.layers - 1:
                h = h + self.place(self.middle[index], rows, columns)
        found = self.post(h[:, -config.objects :])
        return self.classes(found), self.boxes(found).sigmoid()


def yolos_config(config: Mapping[str, Any], classes: int) -> YolosConfig:
    """Shape of a detector from a complete configuration."""
    edges, patch = config["image_size"], config["patch_size"]
    rows, columns = (edges, edges) if isinstance(edges, int) else edges
    if not isinstance(patch, int):
        raise ModelError(f"patches of {patch} pixels; allowed: one number, for squares")
    return YolosConfig(
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        mlp=config["intermediate_size"],
        patch=patch,
        rows=rows // patch,
        columns=columns // patch,
        objects=config["num_detection_tokens"],
        classes=classes,
        middle=config["use_mid_position_embeddings"],
        activation=activation_of(config["hidden_act"]),
        eps=config["layer_norm_eps"],
    )


def rename_yolos(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a checkpoint's tensors; one that no YOLOS has is refused."""
    own: dict[str, Tensor] = {}
    rest: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        head, _, inner = name.partition(".")
        if head in _HEADS:
            own[f"{_HEADS[head]}.{inner}"] = tensor
        elif name in _OUTER:
            own[_OUTER[name]] = tensor[0] if tensor.ndim == 3 else tensor[:, 0]
        else:
            rest[name] = tensor
    return own | rename_vit(rest, "vit")
