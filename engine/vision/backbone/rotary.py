"""Rotary positions over a grid of patches: queries and keys are turned by where they are."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

BASE = 10_000.0


@dataclass(frozen=True, slots=True)
class Rotary:
    """How far a patch's place turns it: column and row are counted from `offset`."""

    offset: float = 0.0
    reference: int | None = None  # patches along an edge when it was learned; None: as now


@dataclass(slots=True)
class Turning:
    """The turns of one tower's tokens, made for a device when they are first needed."""

    rotary: Rotary
    side: int  # patches along an edge
    size: int  # numbers of a head, the first half turned by columns, the other by rows
    special: int  # tokens before the patches, which are not turned
    _tables: dict[torch.device, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    def turn(self, qkv: Tensor, heads: int, places: Tensor | None) -> Tensor:
        """Turn queries and keys of rows `[..., 3D]`; pairs of neighbouring numbers are points.

        Args:
            qkv: queries, keys and values side by side.
            heads: H.
            places: which token each row is, `[...]`; None: the last but one dimension is all.
        """
        cos, sin = self._table(qkv.device)
        if places is not None:
            cos, sin = cos[places], sin[places]
        cos, sin = cos[..., None, :], sin[..., None, :]
        both = 2 * qkv.shape[-1] // 3
        points = qkv[..., :both].float().unflatten(-1, (2 * heads, self.size // 2, 2))
        x, y = points.unbind(-1)
        turned = torch.stack([x * cos - y * sin, y * cos + x * sin], -1).flatten(-3)
        return torch.cat([turned.to(qkv.dtype), qkv[..., both:]], -1)

    def _table(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if device not in self._tables:
            with torch.inference_mode(False):  # training may keep it
                angles = self._angles().to(device)
                self._tables[device] = angles.cos(), angles.sin()
        return self._tables[device]

    def _angles(self) -> Tensor:
        """Return `[N, size / 2]` in float32."""
        quarter = self.size // 4
        speeds = 1.0 / BASE ** (torch.arange(quarter).float() / quarter)
        steps = torch.arange(self.side).float() + self.rotary.offset
        steps = steps / self.side * (self.rotary.reference or self.side)
        row, column = torch.meshgrid(steps, steps, indexing="ij")
        at = torch.stack([column, row], -1).flatten(0, 1)
        angles = (at[..., None] * speeds).flatten(1)
        return torch.cat([angles.new_zeros(self.special, angles.shape[1]), angles])
