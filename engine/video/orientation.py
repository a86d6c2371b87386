"""How a stored picture is turned before it is shown: display matrices."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from engine.objects.address import Place
from engine.objects.remote import RemoteFile, open_bytes
from engine.video.boxes import boxes

Matrix = tuple[int, ...]  # nine 16.16 and 2.30 fixed-point numbers, row by row
_HEADER_BYTES = 96  # of a track, up to its matrix


@dataclass(frozen=True, slots=True)
class Turn:
    """One of the eight ways to lay a picture: stored `(x, y)` shows at `(ax + cy, bx + dy)`."""

    a: int
    b: int
    c: int
    d: int

    @property
    def transposed(self) -> bool:
        """True where width and height change places."""
        return self.a == 0

    @property
    def degrees(self) -> int:
        """The rotation, counterclockwise, without the mirroring; as PyAV's `frame.rotation`."""
        return -round(np.degrees(np.arctan2(self.b, self.a)))

    def apply(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return `[H, W, …]` upright; a view where it can be."""
        if self == UPRIGHT:
            return image
        if self.transposed:
            image = image.swapaxes(0, 1)
            flip_x, flip_y = self.c < 0, self.b < 0
        else:
            flip_x, flip_y = self.a < 0, self.d < 0
        return image[:: -1 if flip_y else 1, :: -1 if flip_x else 1]

    def apply_vectors(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return displacements `[2, …]`, across and down, as they show."""
        x, y = vectors
        return np.stack([self.a * x + self.c * y, self.b * x + self.d * y])


UPRIGHT = Turn(1, 0, 0, 1)


def turn_of(matrix: Matrix | None) -> Turn:
    """Return the nearest of the eight ways; a skewed or missing matrix counts as upright."""
    if matrix is None:
        return UPRIGHT
    a, b, _, c, d = matrix[:5]
    signs = tuple((value > 0) - (value < 0) for value in (a, b, c, d))
    straight = abs(a) > abs(b)
    turn = Turn(signs[0], 0, 0, signs[3]) if straight else Turn(0, signs[1], signs[2], 0)
    complete = turn.a * turn.d or turn.b * turn.c
    return turn if complete else UPRIGHT


def track_matrices(path: Place) -> list[Matrix]:
    """Return the display matrix of each track of an MP4 or QuickTime file, in file order."""
    with open_bytes(path) as file:
        return list(_matrices(file, file.seek(0, 2)))


def _matrices(file: BinaryIO | RemoteFile, size: int) -> Iterator[Matrix]:
    for box in boxes(file, 0, size):
        if box.kind == b"tkhd":
            file.seek(box.start)
            header = file.read(min(box.stop - box.start, _HEADER_BYTES))
            offset = 52 if header[:1] == b"\1" else 40
            if len(header) >= offset + 36:
                yield struct.unpack(">9i", header[offset : offset + 36])
