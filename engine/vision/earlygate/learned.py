"""Learned limits: what is compared, and how far a root may be, come from the token's content."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional as F

from engine.vision.backbone.tower import VisionConfig
from engine.vision.earlygate.limits import FixedLimits


@dataclass(frozen=True, slots=True)
class LearnedLimits:
    """Compare a learned projection of the hidden state; the limit depends on token and slot.

    At layer l the rows `h U_l` are compared, and the limit is the layer's threshold times
    `exp(w_l · h / rms(h) + b_l[slot])`: tokens that matter may change less.
    """

    base: FixedLimits
    projection: Tensor  # [L - 1, C, D]
    weight: Tensor  # [L - 1, D]
    bias: Tensor  # [L - 1, 4]

    @classmethod
    def of_tensors(cls, base: FixedLimits, tensors: Mapping[str, Tensor]) -> "LearnedLimits":
        """Put a file's tensors to their names."""
        return cls(base, tensors["projection"], tensors["weight"], tensors["bias"])

    def tensors(self) -> dict[str, Tensor]:
        """Return the learned tensors by name."""
        return {"projection": self.projection, "weight": self.weight, "bias": self.bias}

    def to(self, like: Tensor) -> "LearnedLimits":
        """Move the learned tensors to where `like` is, in its precision."""
        projection, weight, bias = (part.to(like) for part in self.tensors().values())
        return LearnedLimits(self.base, projection, weight, bias)

    def scaled(self, factor: float) -> "LearnedLimits":
        """Multiply every limit."""
        return replace(self, base=self.base.scaled(factor))

    def gated(self, index: int) -> bool:
        """Whether layer `index` has a gate."""
        return self.base.gated(index)

    @property
    def gates(self) -> tuple[int, ...]:
        """The layers that have a gate."""
        return self.base.gates

    def width(self, _config: VisionConfig) -> int:
        """Return the width C of what is compared."""
        return self.projection.shape[1]

    def keys(self, index: int, h: Tensor) -> Tensor:
        """Return what is compared at layer `index`: `[R, C]`."""
        return F.linear(h, self.projection[index - 1])

    def of(self, index: int, h: Tensor, slots: Tensor) -> Tensor:
        """Limits `[R]` of the rows `[R, D]` at the input of layer `index`."""
        rms = h.float().square().mean(1).add(1e-6).sqrt()
        raised = (h @ self.weight[index - 1]).float() / rms
        raised = raised + self.bias[index - 1].float()[slots]
        return self.base.of(index, h, slots) * raised.clamp(-4, 4).exp()

    def macs(self, config: VisionConfig, computed: Tensor, compared: Tensor) -> Tensor:
        """Multiply-accumulates of projections, limits and comparisons, float64 `[F]`."""
        width = self.projection.shape[1]
        rows = computed[:, [index - 1 for index in self.gates]].sum(1).double()
        return rows * config.width * (width + 1) + compared.double() * width
