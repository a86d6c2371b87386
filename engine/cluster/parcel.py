"""What travels from a decoder to an encoder: the resized pixels of one stretch, as one block."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from engine.ingesting.plan import Task
from engine.ingesting.prepare import PreparedStretch, Ready


@dataclass(frozen=True, slots=True)
class Parcel:
    """A prepared stretch whose frames lie in one array, which is moved and never pickled."""

    bare: PreparedStretch  # without its frames
    told: tuple[tuple[int, float, str], ...]  # number, seconds and picture type of each frame
    pixels: NDArray[np.uint8]  # [F, 3, S, S]
    cues: NDArray[np.float32] | None  # [F, C, side, side]

    @classmethod
    def pack(cls, prepared: PreparedStretch) -> "Parcel":
        """Put a stretch together."""
        frames = prepared.frames
        told = tuple((each.number, each.seconds, each.picture) for each in frames)
        pixels = torch.stack([each.pixels for each in frames]).numpy() if frames else _NONE
        cues = [each.cues for each in frames if each.cues is not None]
        return cls(
            bare=replace(prepared, frames=[], task=lean(prepared.task)),
            told=told,
            pixels=pixels,
            cues=torch.stack(cues).numpy() if cues else None,
        )

    @property
    def size_bytes(self) -> int:
        """Of what travels, but for a few numbers."""
        return self.pixels.nbytes + (0 if self.cues is None else self.cues.nbytes)

    def unpack(self) -> PreparedStretch:
        """Return the stretch; its pixels are copied out of the store that they came by."""
        pixels = torch.from_numpy(self.pixels.copy())
        cues = None if self.cues is None else torch.from_numpy(self.cues.copy())
        frames = [
            Ready(*told, pixels[at], None if cues is None else cues[at])
            for at, told in enumerate(self.told)
        ]
        return replace(self.bare, frames=frames)


_NONE = np.empty((0, 3, 0, 0), np.uint8)


def lean(task: Task) -> Task:
    """Return a task without the list of its video's groups, which has thousands of entries."""
    return replace(task, source=replace(task.source, gops=task.source.gops[:1]))
