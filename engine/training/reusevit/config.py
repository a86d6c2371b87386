"""Every setting of a training run, with the published values."""

from dataclasses import dataclass, field
from typing import Literal

from engine.errors import UsageError, unknown
from engine.training.reusevit.pattern import pattern
from engine.vision.reusevit.modules import ReuseConfig

GATES = ("soft", "straight")


@dataclass(frozen=True, slots=True)
class ReuseTraining:
    """What is trained, on what loss, with which optimiser."""

    target: float = 0.85  # reuse rate below which the loss pays
    modules: ReuseConfig = field(default_factory=ReuseConfig)
    pattern: str = "chain"  # of the frames of a clip, see `schedule.PATTERNS`
    init: Literal["published", "calibrated"] = "calibrated"  # see `calibrate`
    gates: Literal["soft", "straight"] = "soft"  # how shares are sampled, see `gating`
    noise: tuple[float, float] = (1.0, 1.0)  # of the sampled gates, first step to last
    epochs: int = 5  # 0: calibrated alone
    seconds: float = 0.0  # time after which training ends, whatever the epoch; 0: no limit
    batch: int = 12  # clips a step
    lr_codec: float = 2.5e-3
    lr_restoration: float = 5e-4
    lr_decision: float = 2.5e-3
    gamma: float = 0.95  # of all learning rates, per epoch
    anneal: bool = False  # learning rates also fall to zero towards the end, along a cosine
    clip_norm: float = 0.5
    weight_similarity: float = 1.0
    weight_hidden: tuple[float, ...] = (0.0,)  # last hidden state first; published base: (0, 1.5)
    weight_reuse: float = 0.35
    cap: float = 0.95  # rate of one frame and gate beyond which more is not rewarded
    refresh: int = 0  # frames between full ones when validated and served
    judge_every: int = 1  # epochs between two validations
    patience: int = 7  # validations without a better validation before it stops
    save_every: int = 200  # steps between two states to resume from
    seed: int = 12345

    def __post_init__(self) -> None:
        if not 0 <= self.target < 1:
            raise UsageError(f"target must be a reuse rate in [0, 1), got {self.target}")
        if self.gates not in GATES:
            raise UsageError(unknown("gates", self.gates, GATES))
        if self.epochs < 0 or (self.epochs == 0 and self.init != "calibrated"):
            raise UsageError(
                f"epochs must be at least 1, or 0 to calibrate alone, got {self.epochs}"
            )
        for name in ("batch", "save_every", "judge_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}")
        pattern(self.pattern)
