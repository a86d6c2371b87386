"""The frames of one training clip, and what each may refer to."""

from dataclasses import dataclass

from engine.errors import UsageError, unknown

FAR, MID, NEAR = 0, 1, 2


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
