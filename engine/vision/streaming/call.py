"""The frames of all streams of one call, and the result of each frame."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.vision.backbone.tower import VisionTower
from engine.vision.fused.upload import upload
from engine.vision.streaming.places import Frames, Round
from engine.vision.streaming.streams import Stream


class Call:
    """Waiting frames, one stream after the other; results lie in rows of the same numbers."""

    def __init__(self, tower: VisionTower, streams: Sequence[Stream[Any, Any]]) -> None:
        pixels = [stream.state.pending for stream in streams]
        cues = [stream.cues for stream in streams if stream.cues is not None]
        self.first = np.cumsum([0, *(len(each) for each in pixels)])
        total, config, device = int(self.first[-1]), tower.config, tower.device
        size = config.image_size
        empty = torch.empty(0, 3, size, size, dtype=torch.uint8, device=device)
        self.pixels = torch.cat(pixels) if pixels else empty
        self.cues = torch.cat(cues) if cues else None
        self.embeddings = tower.position.new_empty(total, config.dimension)
        self.computed = torch.zeros(total, config.layers, dtype=torch.int32, device=device)
        self.references = np.zeros(total, np.int64)  # that each frame was compared with
        self.full = np.zeros(total, bool)
        self._device = device

    def rows(self, part: Round, frames: Frames) -> Tensor:
        """Note how frames are encoded; return their numbers among all, on the device."""
        rows = self.first[part.streams[frames.groups]] + frames.numbers
        self.references[rows], self.full[rows] = frames.references, part.full[frames.groups]
        return self.sent(rows)

    def sent(self, values: NDArray[Any]) -> Tensor:
        """Copy values to the device."""
        return upload(torch.from_numpy(values), self._device)

    def shares(self, done: Sequence[int]) -> list[slice]:
        """Rows of each stream's results, by how many of its frames are done."""
        firsts = self.first[:-1].tolist()
        return [slice(at, at + count) for at, count in zip(firsts, done, strict=True)]

    def put(self, rows: Tensor, embeddings: Tensor, computed: Tensor) -> None:
        """Keep what these frames became."""
        self.embeddings.index_copy_(0, rows, embeddings)
        self.computed.index_copy_(0, rows, computed.int())
