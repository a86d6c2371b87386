"""In which order the frames of a stream are encoded, what each may refer to, and which are full."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import UsageError, unknown
from kernels.select import CACHE, KINDS, REFERENCES

__all__ = [
    "CACHE",
    "KINDS",
    "ORDER",
    "PATTERNS",
    "REFERENCES",
    "Pattern",
    "Schedule",
    "Step",
    "pattern",
]

GROUP = 4
FAR, MID, NEAR = 0, 1, 2
# frame of the group in each slot, by the group's size: a tail is a group cut short
ORDER: dict[int, tuple[int, ...]] = {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (3, 1, 0, 2)}


@dataclass(frozen=True, slots=True)
class Step:
    """The next `size` waiting frames: one full frame, or a group in the order `ORDER[size]`."""

    size: int
    full: bool


@dataclass(frozen=True, slots=True)
class Schedule:
    """A full frame, then groups of four; a full frame again after `refresh` reused ones.

    With `refresh` 0 only the first frame of a stream, and those marked as cuts, are full. Where
    `refresh` is no multiple of four the last group before a full frame is cut short.
    """

    refresh: int = 0

    def __post_init__(self) -> None:
        if self.refresh < 0:
            raise UsageError(f"refresh must be 0 (never) or more frames, got {self.refresh}")

    def step(
        self, since: int | None, waiting: int, *, last: bool, cuts: Sequence[bool] = ()
    ) -> Step | None:
        """Say what to encode next, or None to wait for more frames.

        Args:
            since: frames since the last full one; None before the first frame of the stream.
            waiting: frames received and not yet encoded.
            last: whether no more frames will come.
            cuts: for each waiting frame whether it must be full, as after a scene cut.
        """
        if not waiting:
            return None
        left = self.refresh - since if self.refresh and since is not None else GROUP
        if since is None or left <= 0 or (len(cuts) > 0 and cuts[0]):
            return Step(1, full=True)
        ahead = next((at for at, cut in enumerate(cuts[:waiting]) if cut), None)
        size = min(GROUP, left, waiting if ahead is None else ahead)
        if size < min(GROUP, left) and not last and ahead is None:
            return None
        return Step(size, full=False)

    def steps(
        self,
        since: int | None,
        waiting: int,
        *,
        last: bool,
        cuts: Sequence[bool] = (),
        most: int = GROUP,
    ) -> list[Step]:
        """Say all that can be encoded of the waiting frames, in groups of at most `most`."""
        steps: list[Step] = []
        done, ends = 0, last or most < GROUP
        while step := self.step(
            since, min(waiting - done, most), last=ends, cuts=cuts[done : done + most]
        ):
            steps.append(step)
            done += step.size
            since = since_full(since, [step])
        return steps


def since_full(since: int | None, steps: Sequence[Step]) -> int | None:
    """Count the frames since the last full one after these steps; None before the first."""
    for step in steps:
        since = 0 if step.full else (since or 0) + step.size
    return since


@dataclass(frozen=True, slots=True)
class Pattern:
    """The frames of one training clip: slot 0 is full, each other slot refers to earlier ones.

    The last three slots are scored: they stand at the end of a chain, as frames do when served.
    """

    offsets: tuple[int, ...]  # of the sampled frames, from the clip's start
    references: tuple[tuple[int, ...], ...]  # by slot, the past one first
    kinds: tuple[int, ...]
    num_scored: int = 3

    @property
    def groups(self) -> tuple[int, ...]:
        """The group of each slot: a far frame opens one, and refers to the last one's cache."""
        return tuple(sum(kind == FAR for kind in self.kinds[: at + 1]) for at in range(self.num))

    @property
    def num(self) -> int:
        """Number of slots."""
        return len(self.offsets)

    @property
    def span(self) -> int:
        """Sampled frames from the first of the clip to the last, both counted."""
        return max(self.offsets) + 1


PATTERNS: dict[str, Pattern] = {
    # three far frames in a chain, then a mid and a near one: the default
    "chain": Pattern(
        (0, 4, 8, 12, 10, 11),
        ((), (0,), (1,), (2,), (2, 3), (4, 3)),
        (FAR, FAR, FAR, FAR, MID, NEAR),
    ),
    "group": Pattern(
        (0, 4, 2, 1, 3), ((), (0,), (0, 1), (0, 2), (2, 1)), (FAR, FAR, MID, NEAR, NEAR)
    ),
    "near-before": Pattern(
        (0, 4, 8, 6, 5), ((), (0,), (1,), (1, 2), (1, 3)), (FAR, FAR, FAR, MID, NEAR)
    ),
    "near-after": Pattern(
        (0, 4, 8, 6, 7), ((), (0,), (1,), (1, 2), (3, 2)), (FAR, FAR, FAR, MID, NEAR)
    ),
    "sequence": Pattern((0, 1, 2, 3, 4), ((), (0,), (1,), (2,), (3,)), (FAR, FAR, FAR, FAR, FAR)),
}


def pattern(name: str) -> Pattern:
    """Return the training pattern of that name."""
    if name not in PATTERNS:
        raise UsageError(unknown("pattern", name, PATTERNS))
    return PATTERNS[name]
