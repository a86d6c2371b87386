"""Which frames are computed in full: after a cut, and when enough has changed since the last."""

from dataclasses import dataclass

from engine.errors import UsageError


@dataclass(frozen=True, slots=True)
class Refresh:
    """Marks frames by their pixels, so that it does not matter how a stream is cut into chunks.

    A change of `cut` or more from one frame to the next is a scene cut; `budget` is how much change
    may add up, frame by frame, before a frame is computed in full (0: any amount).
    """

    cut: float = 0.12
    budget: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.cut <= 1 or self.budget < 0:
            raise UsageError(
                f"cut must be in (0, 1] and budget 0 or more, got {self.cut} and {self.budget}"
            )

    def marks(self, changes: list[float], spent: float) -> tuple[list[bool], float]:
        """Say for each frame whether it must be full, and the change added up since the last."""
        marks = []
        for change in changes:
            spent += change
            full = change >= self.cut or 0 < self.budget < spent
            spent = 0.0 if full else spent
            marks.append(full)
        return marks, spent
