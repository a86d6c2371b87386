"""In which order the frames of a stream are encoded, what each may refer to, and which are full."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import UsageError

GROUP = 4
# frame of the group in each slot, by the group's size: a tail is a group cut short
ORDER: dict[int, tuple[int, ...]] = {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (3, 1, 0, 2)}


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """The next `size` waiting frames: one full frame, or a group."""

    size: int
    full: bool


@dataclass(frozen=True, slots=True)
class Schedule:
    """A full frame, then groups; a full frame again after `refresh` frames of groups.

    With `refresh` 0 only the first frame of a stream, and those marked as cuts, are full. Where
    `refresh` is no multiple of a group the last one before a full frame is cut short.
    """

    refresh: int = 0
    group: int = GROUP

    def __post_init__(self) -> None:
        if self.group < 1:
            raise UsageError(f"a group has 1 frame or more, got {self.group}")
        if self.refresh < 0:
            raise UsageError(f"refresh must be 0 (never) or more frames, got {self.refresh}")

    def step(
        self, since: int | None, waiting: int, *, last: bool, cuts: Sequence[bool] = ()
    ) -> PlannedStep | None:
        """Say what to encode next, or None to wait for more frames.

        Args:
            since: frames since the last full one; None before the first frame of the stream.
            waiting: frames received and not yet encoded.
            last: whether no more frames will come.
            cuts: for each waiting frame whether it must be full, as after a scene cut.
        """
        if not waiting:
            return None
        left = self.refresh - since if self.refresh and since is not None else self.group
        if since is None or left <= 0 or (len(cuts) > 0 and cuts[0]):
            return PlannedStep(1, full=True)
        ahead = next((at for at, cut in enumerate(cuts[:waiting]) if cut), None)
        size = min(self.group, left, waiting if ahead is None else ahead)
        if size < min(self.group, left) and not last and ahead is None:
            return None
        return PlannedStep(size, full=False)

    def steps(
        self,
        since: int | None,
        waiting: int,
        *,
        last: bool,
        cuts: Sequence[bool] = (),
    ) -> list[PlannedStep]:
        """Say all that can be encoded of the waiting frames."""
        steps: list[PlannedStep] = []
        done = 0
        while step := self.step(
            since,
            min(waiting - done, self.group),
            last=last,
            cuts=cuts[done : done + self.group],
        ):
            steps.append(step)
            done += step.size
            since = since_full(since, [step])
        return steps


def since_full(since: int | None, steps: Sequence[PlannedStep]) -> int | None:
    """Count the frames since the last full one after these steps; None before the first."""
    for step in steps:
        since = 0 if step.full else (since or 0) + step.size
    return since
