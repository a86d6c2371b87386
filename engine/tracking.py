"""Which boxes of a video's frames are of one thing: followed from frame to frame."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

PATIENCE = 3  # sampled frames that a thing may be further than the one in which it was last seen
FAR = 2.0  # of the boxes' mean diagonal, that a middle may move from frame to frame
SWELL = 3.0  # times that a box's area may grow or shrink


@dataclass(slots=True)
class Follower:
    """Boxes of a video in the order of time, each given the number of its track.

    A box goes on with the track of its label whose last box is nearest: of all pairs the one of
    the newer last box first, then the nearer by the boxes' mean diagonal, then by the boxes' order,
    each box and each track once. A box that goes on with none begins a track.
    """

    _labels: list[int] = field(default_factory=list, init=False)
    _boxes: list[NDArray[np.float64]] = field(default_factory=list, init=False)
    _frames: list[int] = field(default_factory=list, init=False)
    _numbers: list[int] = field(default_factory=list, init=False)

    def follow(
        self, frame: int, labels: NDArray[np.int64], boxes: NDArray[np.float64], first: int
    ) -> NDArray[np.int64]:
        """Give boxes `[K, 4]` of the next frame their tracks; new ones count on from `first`."""
        numbers = first + np.arange(len(labels))
        self._forget(frame)
        if len(labels) and self._labels:
            for old, new in self._pairs(frame, labels, boxes):
                numbers[new] = self._numbers[old]
        kept = [at for at, number in enumerate(self._numbers) if number not in numbers]
        for name in ("_labels", "_boxes", "_frames", "_numbers"):
            setattr(self, name, [getattr(self, name)[at] for at in kept])
        self._labels += labels.tolist()
        self._boxes += list(boxes)
        self._frames += [frame] * len(labels)
        self._numbers += numbers.tolist()
        return numbers

    def _forget(self, frame: int) -> None:
        """Leave out tracks that ended too long ago."""
        kept = [at for at, last in enumerate(self._frames) if frame - last <= PATIENCE]
        for name in ("_labels", "_boxes", "_frames", "_numbers"):
            setattr(self, name, [getattr(self, name)[at] for at in kept])

    def _pairs(
        self, frame: int, labels: NDArray[np.int64], boxes: NDArray[np.float64]
    ) -> list[tuple[int, int]]:
        """Which track goes on with which box."""
        before, gone = np.stack(self._boxes), frame - np.array(self._frames)
        old_size, new_size = (each[:, 2:] - each[:, :2] for each in (before, boxes))
        diagonal = (np.hypot(*old_size.T)[:, None] + np.hypot(*new_size.T)) / 2
        off = (before[:, :2] + before[:, 2:])[:, None] - (boxes[:, :2] + boxes[:, 2:])
        far = np.hypot(off[..., 0], off[..., 1]) / 2 / diagonal.clip(min=1e-9)
        area, other = old_size.prod(1)[:, None], new_size.prod(1)
        alike = np.array(self._labels)[:, None] == labels
        alike &= (far <= FAR * gone[:, None]) & (area <= SWELL * other) & (other <= SWELL * area)
        old, new = np.nonzero(alike)
        order = np.lexsort((new, old, far[old, new], gone[old]))
        taken_old: set[int] = set()
        taken_new: set[int] = set()
        pairs = []
        for at in order.tolist():
            one, other_one = int(old[at]), int(new[at])
            if one not in taken_old and other_one not in taken_new:
                taken_old.add(one)
                taken_new.add(other_one)
                pairs.append((one, other_one))
        return pairs


class Tracks:
    """Tracks of one video by frame and box, followed as far as it was looked at without a gap.

    A track's number is that of its first box: the frame's number times how many boxes a frame has
    at most, and the box's place in the frame.
    """

    def __init__(self, most: int) -> None:
        self._most, self._follower = most, Follower()
        self._numbers: dict[int, NDArray[np.int64]] = {}

    def follow(
        self,
        frames: NDArray[np.int32],
        scores: NDArray[np.float32],
        labels: NDArray[np.int64],
        boxes: NDArray[np.float32],
    ) -> None:
        """Go on over frames in the order of time, those that were followed before left out."""
        last = max(self._numbers, default=-1)
        for at in np.flatnonzero(frames > last).tolist():
            frame, real = int(frames[at]), scores[at] > 0
            own = labels[at][real], boxes[at][real].astype(np.float64)
            self._numbers[frame] = self._follower.follow(frame, *own, frame * self._most)

    def numbers(self, frames: NDArray[np.int32], places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tracks of boxes, each given by its frame and its place there."""
        pairs = zip(frames.tolist(), places.tolist(), strict=True)
        return np.array([self._numbers[frame][place] for frame, place in pairs], np.int64)
