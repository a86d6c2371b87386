"""Frames of streams side by side, one of each at a time: what goes in, and where it lies."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import UsageError
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.fused.capture import capture
from engine.vision.fused.layers import Embedding, Workspace, check_tower, quartered
from engine.vision.fused.upload import upload

MOST_LANES = 256


def fitting_lanes(config: VisionConfig, free_bytes: int, kept: int) -> int:
    """Streams to run side by side that keep so many values a token: 256, or a quarter."""
    row = kept + 8 * config.width + config.mlp
    return quartered(MOST_LANES, 2 * config.tokens * row, free_bytes)


@dataclass(frozen=True, slots=True)
class Present:
    """The frames of a step of B lanes, on the device."""

    there: Tensor  # uint8 [B]
    full: Tensor  # uint8 [B], all of whose tokens are computed
    starts: Tensor  # int64 [B], each frame's first row, `lane * N`; below zero: not there
    rows: Tensor  # int32 [B N], the rows of those that are there, and others behind them
    counts: tuple[Tensor, Tensor]  # int32 [1] each, patches and tokens that are there


class Lanes:
    """Room for one frame of each of so many streams, and a graph for a few numbers of them."""

    def __init__(self, tower: VisionTower, room: int) -> None:
        check_tower(tower)
        config, device, like = tower.config, tower.device, tower.position
        size, rows = config.image_size, room * config.tokens
        self.tower = tower
        self.room = room
        self.pixels = torch.zeros(room, 3, size, size, dtype=torch.uint8, device=device)
        self.embeddings = like.new_zeros(room, config.dimension)
        self.h = like.new_zeros(rows, config.width)
        self.mixed = like.new_zeros(rows, config.width)
        self.packed = like.new_zeros(rows, config.width)
        self.work = Workspace.allocate(tower.layer(0), rows)
        self.first = like.new_zeros(room, config.width)
        self.distance = torch.zeros(room, config.tokens, device=device)
        self.chosen = torch.zeros(rows, dtype=torch.int32, device=device)
        self._embedding = Embedding(tower, room)
        self._marks = torch.zeros(2, room, dtype=torch.uint8, device=device)
        self._order = torch.zeros(room, dtype=torch.int64, device=device)
        self._counts = torch.zeros(2, dtype=torch.int32, device=device)
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def check(self, places: int) -> None:
        """Refuse more streams than there is room for."""
        if places > self.room:
            raise UsageError(f"expected at most {self.room} streams, got {places}")

    def put(self, places: NDArray[np.int64], full: NDArray[np.bool_], pixels: Tensor) -> Tensor:
        """Take the frames of the streams at these places; return the places on the device."""
        num, tokens = len(places), self.tower.config.tokens
        words = np.zeros(2 * self.room + 2 + num, np.int64)
        there, whole, counts, order = np.split(words, [self.room, 2 * self.room, 2 * self.room + 2])
        there[places], whole[places] = 1, full
        counts[:] = num * (tokens - 1), num * tokens
        order[:] = places
        sent = upload(torch.from_numpy(words), self.tower.device)
        self._marks.copy_(sent[: 2 * self.room].view(2, -1))
        self._counts.copy_(sent[2 * self.room : -num])
        self._order[:num].copy_(sent[-num:])
        self.pixels[:num].copy_(pixels, non_blocking=True)
        return sent[-num:]

    def run(self, lanes: int, forward: Callable[[int], None]) -> None:
        """Run the forward over so many lanes or a few more, by a graph on a GPU."""
        width = self.room
        while width % 4 == 0 and width // 4 >= lanes:
            width //= 4
        if self.tower.device.type != "cuda":
            return forward(width)
        if width not in self._graphs:
            # while it is recorded no frame is there, so that every stream stays where it is
            marks, counts = self._marks.clone(), self._counts.clone()
            self._marks.zero_()
            self._counts.zero_()
            self._graphs[width] = capture(lambda: forward(width))
            self._marks.copy_(marks)
            self._counts.copy_(counts)
        return self._graphs[width].replay()

    def begin(self, width: int) -> Present:
        """Embed the frames into `h`, and say where they lie."""
        tokens, device = self.tower.config.tokens, self.tower.device
        there, full = self._marks[:, :width]
        lane = torch.arange(width, device=device)
        starts = (lane * tokens).where(there > 0, -1)
        place = torch.arange(tokens, device=device)
        rows = (self._order[:width, None] * tokens + place).int().view(-1)
        counts = self._counts[:1], self._counts[1:]
        self._embedding.write(self.pixels[:width], self.h, rows, counts)
        return Present(there, full, starts, rows, counts)
