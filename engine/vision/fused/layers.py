"""The parts of a tower's forward that all fused forwards share, over buffers planned once."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.errors import UsageError
from engine.vision.backbone.linear8 import Linear8
from engine.vision.backbone.tower import Layer, VisionConfig, VisionTower
from kernels.copy_rows import copy_rows
from kernels.norm import normalise
from kernels.patchify import patchify
from kernels.product import product

MOST_STREAMS = 64


def fits(tower: VisionTower) -> bool:
    """Whether a fused forward is the way to run the tower: on a GPU, in half precision."""
    half = tower.dtype in (torch.bfloat16, torch.float16)
    return tower.device.type == "cuda" and half and not misfit(tower.config)


def check_tower(tower: VisionTower) -> None:
    """Refuse a tower that no fused forward can run."""
    if reason := misfit(tower.config):
        raise UsageError(f"a fused forward needs {reason}")


def misfit(config: VisionConfig) -> str:
    """What the kernels need and the tower lacks; empty if nothing."""
    size = config.width // config.heads
    if not config.by_class:
        return "a tower embedded by its class token"
    if not config.projection and config.dimension < config.width:
        return "all numbers of its vectors"
    if config.tubelet > 1:
        return "pictures of one frame"
    if config.stem:
        return "patches that one product embeds"
    if size < 16 or size & (size - 1):
        return f"heads of a power of two of at least 16 values, got {size}"
    if config.width % 8 or config.mlp % 8:
        return f"widths in eights, got {config.width} and {config.mlp}"
    return ""


def quartered(most: int, bytes_each: int, free_bytes: int) -> int:
    """How many to run side by side: `most`, or a quarter of it until half the memory holds them."""
    count = most
    while count > 1 and 2 * count * bytes_each > free_bytes:
        count //= 4
    return count


@dataclass(frozen=True, slots=True)
class Workspace:
    """Room for the rows of one layer: M tokens."""

    after: Tensor  # [M, D], h behind attention
    normed: Tensor  # [M, D], as `wide` in the type of the weights that multiply it
    units: Tensor | None  # float32 [M], what 1 in each row of `normed` is worth if that is e4m3
    wide: Tensor  # [M, mlp]

    @classmethod
    def allocate(cls, layer: Layer, rows: int) -> "Workspace":
        """Allocate for that many rows of such a layer, on its device and in its type."""
        like, (mlp, width) = layer.norm1.weight, layer.up.weight.shape
        eight = isinstance(layer.up, Linear8)
        return cls(
            like.new_empty(rows, width),
            like.new_empty(rows, width, dtype=layer.up.weight.dtype),
            like.new_empty(rows, dtype=torch.float32) if eight else None,
            like.new_empty(rows, mlp, dtype=layer.down.weight.dtype),
        )

    def first(self, rows: int) -> "Workspace":
        """Return the first rows of each."""
        units = None if self.units is None else self.units[:rows]
        return Workspace(self.after[:rows], self.normed[:rows], units, self.wide[:rows])


def norm_rows(
    x: Tensor,
    norm: nn.LayerNorm,
    out: Tensor,
    *,
    units: Tensor | None = None,
    source: Tensor | None = None,
    target: Tensor | None = None,
    count: Tensor | None = None,
) -> Tensor:
    """Apply a LayerNorm module to chosen rows."""
    return normalise(
        x, norm.weight, norm.bias, norm.eps, source=source, out=out, units=units, target=target,
        count=count,
    )  # fmt: skip


def multiply(
    rows: Tensor,
    linear: nn.Linear | Linear8,
    *,
    units: Tensor | None = None,
    columns: slice = slice(None),
    activation: str | None = None,
    factor: float | None = None,
    residual: Tensor | None = None,
    source: Tensor | None = None,
    out: Tensor,
    target: Tensor | None = None,
    count: Tensor | None = None,
) -> Tensor:
    """Apply a linear module, or some of its columns, to packed rows: see `product`."""
    bias = linear.bias if linear.bias is None else linear.bias[columns]
    scale = linear.scale[columns] if isinstance(linear, Linear8) else None
    return product(
        rows, linear.weight[columns], bias, scale=scale, units=units, activation=activation,
        factor=factor, residual=residual, source=source, out=out, target=target, count=count,
    )  # fmt: skip


def project_rows(
    layer: Layer,
    h: Tensor,
    work: Workspace,
    out: Tensor,
    *,
    source: Tensor | None = None,
    target: Tensor | None = None,
    count: Tensor | None = None,
) -> Tensor:
    """First LayerNorm, then queries, keys and values: `out[target]` from `h[source]`."""
    norm_rows(h, layer.norm1, work.normed, units=work.units, source=source, count=count)
    return multiply(work.normed, layer.qkv, units=work.units, out=out, target=target, count=count)


def project_last(layer: Layer, h: Tensor, tokens: int, work: Workspace, out: Tensor) -> None:
    """Keys and values of all tokens, and queries of each frame's first alone."""
    width, normed, units = h.shape[1], work.normed, work.units
    norm_rows(h, layer.norm1, normed, units=units)
    multiply(normed, layer.qkv, units=units, columns=slice(width, None), out=out[:, width:])
    units = None if units is None else units[::tokens]
    multiply(
        normed[::tokens], layer.qkv, units=units, columns=slice(width), out=out[::tokens, :width]
    )


def finish_rows(
    layer: Layer,
    mixed: Tensor,
    residual: Tensor,
    work: Workspace,
    out: Tensor,
    *,
    source: Tensor | None = None,
    target: Tensor | None = None,
    count: Tensor | None = None,
) -> Tensor:
    """Out-projection and MLP: `out[target]` from packed P and `residual[source]`."""
    multiply(mixed, layer.out, residual=residual, source=source, out=work.after, count=count)
    norm_rows(work.after, layer.norm2, work.normed, units=work.units, count=count)
    return feed_rows(layer, work, out, residual=work.after, target=target, count=count)


def feed_rows(
    layer: Layer,
    work: Workspace,
    out: Tensor,
    *,
    residual: Tensor | None = None,
    target: Tensor | None = None,
    count: Tensor | None = None,
) -> Tensor:
    """MLP of the packed rows in `work.normed`: `out[target]`, the residual added."""
    hidden = layer.down.unit if isinstance(layer.down, Linear8) else None
    multiply(
        work.normed, layer.up, units=work.units, activation=layer.activation,
        factor=None if hidden is None else 1 / hidden, out=work.wide, count=count,
    )  # fmt: skip
    return multiply(work.wide, layer.down, residual=residual, out=out, target=target, count=count)


def finish_classes(
    tower: VisionTower,
    mixed: Tensor,
    h: Tensor,
    work: Workspace,
    out: Tensor,
    *,
    source: Tensor | None = None,
) -> Tensor:
    """Embeddings `[F, E]` from the class tokens' P `[F, D]`, used up, and h, or `h[source]`."""
    last = tower.layer(tower.config.layers - 1)
    rows = finish_rows(last, mixed, h, work, work.after, source=source)
    if isinstance(tower.head, nn.Linear):
        return multiply(norm_rows(rows, tower.post, mixed), tower.head, out=out)
    return norm_rows(rows, tower.post, out)


class Embedding:
    """Bytes of up to F frames to hidden states, patch embedding and first LayerNorm included."""

    def __init__(self, tower: VisionTower, frames: int) -> None:
        config, device = tower.config, tower.device
        self.tower, self._bias = tower, tower.product.bias
        columns = patch_columns(config)
        weight = tower.product.weight.detach()
        self._weight = F.pad(weight, (0, columns - weight.shape[1])).contiguous()
        self._mean = torch.tensor(config.mean, device=device)
        self._std = torch.tensor(config.std, device=device)
        self._patches = weight.new_zeros(frames * (config.tokens - 1), columns)
        self._count = torch.tensor([len(self._patches)], dtype=torch.int32, device=device)
        self._raw = weight.new_empty(frames * config.tokens, config.width)
        cell = torch.arange(len(self._patches), device=device)
        frame, patch = cell // (config.tokens - 1), cell % (config.tokens - 1) + 1
        self._position = patch.int()
        self._row = (frame * config.tokens + patch).int()
        # rows of class tokens stay as they are, for no product writes them
        first = (tower.class_token.float() + tower.position[0].float()).detach()
        self._raw.view(frames, config.tokens, -1)[:, 0] = first.to(weight.dtype)

    def cut(self, pixels: Tensor, out: Tensor) -> None:
        """Write the patches of `pixels`, embedded and without positions, to `out` `[n P, D]`."""
        config = self.tower.config
        patches = self._patches[: len(out)]
        patchify(pixels, config.patch, self._mean, self._std, patches, count=self._count)
        product(patches, self._weight, self._bias, out=out)

    def write(
        self,
        pixels: Tensor,
        out: Tensor,
        target: Tensor | None = None,
        counts: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """Write the tokens of `pixels` `[n, 3, S, S]` to `out[target]`, or to its first rows.

        `counts`, int32 `[1]` each, say how many patches and tokens are there; without, all are.
        """
        tower, config = self.tower, self.tower.config
        num_patches, num_tokens = counts or (None, None)
        cells, rows = len(pixels) * (config.tokens - 1), len(pixels) * config.tokens
        patches = self._patches[:cells]
        patchify(
            pixels, config.patch, self._mean, self._std, patches,
            count=self._count if num_patches is None else num_patches,
        )  # fmt: skip
        product(
            patches, self._weight, self._bias, residual=tower.position,
            source=self._position[:cells], out=self._raw, target=self._row[:cells],
            count=num_patches,
        )  # fmt: skip
        raw = self._raw[:rows]
        if isinstance(tower.pre, nn.LayerNorm):
            norm_rows(raw, tower.pre, out, target=target, count=num_tokens)
        elif target is None:
            out[:rows].copy_(raw)
        else:
            copy_rows(raw, None, target, out=out, count=num_tokens)


def patch_columns(config: VisionConfig) -> int:
    """Values of a patch, up to the next multiple of 8, which a tensor descriptor asks for."""
    return -(-3 * config.patch**2 // 8) * 8
