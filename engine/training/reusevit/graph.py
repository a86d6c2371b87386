"""A training step recorded once and replayed: thousands of small launches as one."""

from collections.abc import Callable

import torch
from torch import Tensor

from engine.training.reusevit.clips import ClipBatch
from engine.training.reusevit.loss import ReuseLosses

WARM_UP = 3  # steps run plainly before one is recorded

Step = Callable[[ClipBatch], ReuseLosses]


class Recorded:
    """Runs `step` plainly a few times on a stream of its own, then records and replays it."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._runs = 0
        self._stream = torch.cuda.Stream()
        self._graph = torch.cuda.CUDAGraph()
        self._batch: ClipBatch | None = None
        self._losses: ReuseLosses | None = None

    def __call__(self, batch: ClipBatch) -> ReuseLosses:
        """Take one step; the losses returned are overwritten by the next one."""
        self._runs += 1
        if self._runs <= WARM_UP:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                losses = self._step(batch)
            torch.cuda.current_stream().wait_stream(self._stream)
            return losses
        if self._batch is None or self._losses is None:
            self._batch = ClipBatch(batch.pixels.clone(), _clone(batch.maps))
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._losses = self._step(self._batch)
        self._batch.pixels.copy_(batch.pixels)
        if self._batch.maps is not None and batch.maps is not None:
            self._batch.maps.copy_(batch.maps)
        self._graph.replay()
        return self._losses


def _clone(maps: Tensor | None) -> Tensor | None:
    return None if maps is None else maps.clone()
