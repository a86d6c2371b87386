"""All that is trained for one backbone: a gate between each two layers, and the codec net."""

from dataclasses import dataclass

from torch import Tensor, nn

from engine.errors import UsageError, unknown
from engine.vision.backbone.tower import VisionConfig
from engine.vision.reusevit.codec import CodecNet
from engine.vision.reusevit.cue import CUES, Cue
from engine.vision.reusevit.gating import CHAINS, Chain, Gate


@dataclass(frozen=True, slots=True)
class ReuseConfig:
    """What the modules look like, and how they were trained and must be served."""

    decision: str = "ldrl"  # linear, dropout, ReLU, linear
    hidden: int = 160
    narrow: int = 64  # width of each restoration bottleneck; 0: reused as they are
    chain: Chain = "published"
    cue: Cue = "pixels"

    def __post_init__(self) -> None:
        if self.narrow < 0:
            raise UsageError(f"narrow must be 0 (no corrections) or more, got {self.narrow}")
        if self.chain not in CHAINS:
            raise UsageError(unknown("chain", self.chain, CHAINS))
        if self.cue not in CUES:
            raise UsageError(unknown("cue", self.cue, CUES))


class ReuseModules(nn.Module):
    """The gates of a tower, in order, and the codec net where cues are used."""

    def __init__(self, tower: VisionConfig, config: ReuseConfig) -> None:
        super().__init__()
        self.config = config
        self.gates = nn.ModuleList(
            Gate(
                tower.width,
                pattern=config.decision,
                hidden=config.hidden,
                narrow=config.narrow,
                fixed=int(tower.class_token),
            )
            for _ in range(tower.layers - 1)
        )
        self.codec = None if config.cue == "none" else CodecNet()

    def gate(self, index: int) -> Gate:
        """Return gate `index`, typed."""
        gate = self.gates[index]
        assert isinstance(gate, Gate)
        return gate

    def cue(self, windows: Tensor) -> Tensor:
        """One number per patch `[F, side * side]` of windows `[F, 4, 4, side, side]`."""
        assert self.codec is not None
        return self.codec(windows)
