"""What audits know of frames like theirs: how far off a vector is, is taken off its likes too.

A gate that has missed something goes on missing it: frames that it takes for alike are off by the
same. An audit shows by how much, which costs nothing more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

TRUST = 2.0  # how much faster a residual is trusted to change than the vectors that it is seen at
CLEAR = 2.0  # standard errors by which taking residuals off must help those audited
FAR = 1e-5  # of 1 - cosine, what a frame's distance in time counts


@dataclass(frozen=True, slots=True)
class Anchors:
    """Audited frames of a video: unit vectors as they came and as they are, and their times."""

    ours: Tensor  # float32 [m, E]
    exact: Tensor  # float32 [m, E]
    places: Tensor  # int64 [m], in the order of time as far as it is known

    @classmethod
    def of(cls, ours: Tensor, exact: Tensor, places: Tensor) -> "Anchors":
        """Make unit vectors of what a tower gave."""
        return cls(F.normalize(ours.float(), dim=1), F.normalize(exact.float(), dim=1), places)

    def __len__(self) -> int:
        return len(self.places)

    @classmethod
    def joined(cls, parts: Sequence["Anchors"]) -> "Anchors":
        """Return those of several streams, one after the other."""
        ours, exact, places = (
            torch.cat([getattr(part, name) for part in parts])
            for name in ("ours", "exact", "places")
        )
        return cls(ours, exact, places)

    def take_off(self, vectors: Tensor, places: Tensor) -> Tensor:
        """Return vectors without what their nearest anchors were off by, as long as they came."""
        lengths = vectors.float().norm(dim=1, keepdim=True)
        units = F.normalize(vectors.float(), dim=1)
        return (self._nearer(units, places, alone=False) * lengths).to(vectors.dtype)

    def left_out(self) -> Tensor:
        """Return the drift of each anchor, had it not been audited: float32 `[m]`.

        Each is corrected by the others alone, which are fewer and farther off than those that a
        frame is corrected by in the end.
        """
        if len(self) < 2:
            return self.drifts
        return _apart(self._nearer(self.ours, self.places, alone=True), self.exact)

    def told(self) -> tuple[Tensor, bool]:
        """Return the drifts of the anchors, and whether they are those once others are told of.

        They are where that clearly helps; by chance alone it seldom seems to.
        """
        raw, left = self.drifts, self.left_out()
        gained = raw - left
        helps = bool(gained.sum() > CLEAR * gained.square().sum().sqrt())
        return (left if helps else raw), helps

    @property
    def drifts(self) -> Tensor:
        """How far each anchor was off."""
        return _apart(self.ours, self.exact)

    def _nearer(self, units: Tensor, places: Tensor, *, alone: bool) -> Tensor:
        """Correct each vector by its nearest anchor, as far as that is trusted to say."""
        apart = (1 - units @ self.ours.T).clamp(min=0)
        far = apart + FAR * (places[:, None] - self.places[None]).abs()
        if alone:
            far.fill_diagonal_(torch.inf)
        nearest = far.argmin(1)
        drifts = self.drifts[nearest]
        between = apart.gather(1, nearest[:, None]).squeeze(1)
        trust = drifts / (drifts + TRUST * between + 1e-9)
        residuals = (self.exact - self.ours)[nearest]
        return F.normalize(units + trust[:, None] * residuals, dim=1)


def _apart(ours: Tensor, exact: Tensor) -> Tensor:
    return (1 - (ours * exact).sum(1)).clamp(min=0)
