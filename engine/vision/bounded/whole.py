"""What is known of a video whose streams share one audit and one promise."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from engine.vision.bounded.audit import EARLY, LATE, audit_size, room, upper_mean
from engine.vision.bounded.controller import Audited
from engine.vision.bounded.correct import Anchors

BORROWED = 0.5  # of what frames still to come may drift, that those before them may count on


@dataclass(frozen=True, slots=True)
class AuditedBlock:
    """Frames encoded at one rung, and what their audits saw."""

    rung: int
    frames: int  # that are not exact
    drifts: tuple[float, ...]  # of those audited

    @property
    def spent(self) -> float:
        """Estimated drift of its frames together."""
        return fmean(self.drifts) * self.frames if self.drifts else 0.0


@dataclass(slots=True)
class AuditedVideo:
    """A video's audits, of streams returned before; those at hand are given to what asks.

    The promise is the video's: its streams are audited in proportion, and what they show is tested
    together. Streams before the last are tested against more than the bound, since those to come
    can be tighter; the last is tested against the bound itself.
    """

    num_frames: int
    max_drift: float
    confidence: float
    done: int = 0  # frames returned
    rung: int = 0  # for the next block
    alert: bool = False  # the first look was not enough
    blocks: list[AuditedBlock] = field(default_factory=list)
    anchors: Anchors | None = None  # audited frames of streams returned before
    corrects: bool = False  # what they were off by is taken off frames like them

    @property
    def quota(self) -> int:
        """Frames of a first look at all of it."""
        return audit_size(self.num_frames)

    @property
    def risk(self) -> float:
        """Risk of the look at hand: the two looks share what is not left to doing things again."""
        return (1 - self.confidence) * (LATE if self.alert else EARLY)

    def size(self, frames: int) -> int:
        """Return how many frames of a stream of so many a first look has."""
        return min(frames, max(1, round(self.quota * frames / max(self.num_frames, frames))))

    @property
    def aim(self) -> float:
        """Mean drift at which the first look most likely passes."""
        return room(self.quota, self.risk) * self.max_drift

    def limit(self, frames: int) -> float:
        """Return the mean drift that the first so many frames may have."""
        left = max(self.num_frames - frames, 0)
        return self.max_drift * (1 + BORROWED * left / max(frames, 1))

    def upper(self, blocks: Sequence[AuditedBlock], frames: int) -> float:
        """Upper confidence bound of the mean drift of `frames` that these blocks are part of.

        Blocks are not audited in equal shares: each drift counts for its share of the frames.
        """
        left = [block for block in blocks if block.frames]
        if not left:
            return 0.0
        audited = [block for block in left if block.drifts]
        weights = [
            (drift, block.frames / len(block.drifts)) for block in audited for drift in block.drifts
        ]
        sizes = sum(weight for _, weight in weights)
        weighted = [drift * weight * len(weights) / sizes for drift, weight in weights]
        most = sizes**2 / sum(weight**2 for _, weight in weights) if weights else 0.0
        upper = upper_mean(weighted, self.risk, most)
        return upper * sum(block.frames for block in left) / frames

    def settle(self, blocks: Iterable[AuditedBlock], frames: int) -> None:
        """Take in a stream that is returned."""
        self.blocks += blocks
        self.done += frames
        self.alert = False


def seen_at(blocks: Iterable[AuditedBlock]) -> list[Audited]:
    """Return what audits saw, with the rung at which it came about."""
    return [Audited(drift, block.rung) for block in blocks for drift in block.drifts]
