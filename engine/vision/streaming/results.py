"""Results of streams: joined over the turns, and copied from a GPU to the host."""

from collections.abc import Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from engine.vision.streaming.strategy import Encoded

K = TypeVar("K")


class EndedStreams(Generic[K]):
    """The streams that ended with a turn, one or more, all their frames side by side, in float32.

    On a GPU joining waits for nothing, and reading for this turn alone, not for later ones.
    """

    def __init__(self, streams: Sequence[tuple[K, Sequence[Encoded]]]) -> None:
        self._streams = streams
        parts = [part for _, each in streams for part in each]
        # a drift is known of a stream where it is of all its parts
        drifts = [
            part.drift for _, each in streams if _known(each) for part in each
            if part.drift is not None
        ]  # fmt: skip
        self._columns = [
            torch.cat([part.embeddings for part in parts]).float(),
            torch.cat([part.computed for part in parts]),
            torch.cat([part.macs for part in parts]),
            torch.cat([part.full for part in parts]),
            torch.cat(drifts) if drifts else None,
        ]
        device = parts[0].embeddings.device
        self._done = None
        if device.type == "cuda":
            self._done = torch.cuda.current_stream(device).record_event()

    def read(self, side: torch.cuda.Stream | None) -> list[tuple[K, Encoded]]:
        """Return each stream's frames as one, on the host; from a GPU by the stream `side`."""
        columns = self._columns
        if self._done is not None and side is not None:
            side.wait_event(self._done)
            with torch.cuda.stream(side):
                columns = [None if each is None else fetch(each) for each in columns]
            side.synchronize()
        counts = [sum(len(part.full) for part in each) for _, each in self._streams]
        rows = zip(*(each.split(counts) for each in columns[:4] if each is not None), strict=True)
        known = [n for n, (_, each) in zip(counts, self._streams, strict=True) if _known(each)]
        drifts = iter(() if columns[4] is None else columns[4].split(known))
        ended = []
        for (key, each), (embeddings, computed, macs, full) in zip(
            self._streams, rows, strict=True
        ):
            drift = next(drifts) if _known(each) else None
            strategy = each[-1].strategy
            ended.append((key, Encoded(embeddings, computed, macs, full, None, drift, strategy)))
        return ended


def fetch(values: Tensor) -> Tensor:
    """Begin to copy to pinned memory: the host may read it once the current stream is there."""
    return torch.empty_like(values, device="cpu", pin_memory=True).copy_(values, non_blocking=True)


def _known(parts: Sequence[Encoded]) -> bool:
    return all(part.drift is not None for part in parts)
