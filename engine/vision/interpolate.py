"""Every k-th frame in full, straight lines between their vectors: the baseline to beat."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.errors import UsageError
from engine.vision.backbone.macs import dense_macs
from engine.vision.backbone.tower import VisionTower
from engine.vision.streaming.dense import Dense
from engine.vision.streaming.strategy import Chunk, Encoded, StreamState


@dataclass(frozen=True, slots=True)
class Interpolate:
    """Encode frames 0, `every`, 2 · `every`, … and the last of a stream; interpolate the others."""

    tower: VisionTower
    every: int = 2
    dense: Dense | None = None  # that encodes; None: the plain one
    name: str = "interpolate"

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UsageError(f"every must be at least 1, got {self.every}")

    def with_scale(self, scale: float) -> "Interpolate":
        """Multiply the distance between encoded frames, rounded down; 1 is dense."""
        return replace(self, every=max(1, int(self.every * scale)))

    @torch.inference_mode()
    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        """Encode the key frames of all chunks together; frames wait for the key after them."""
        streams = [self._receive(chunk) for chunk in chunks]
        keys = [pixels[at] for pixels, at, _ in streams]
        dense = self.dense or Dense(self.tower)
        encodings = dense.encode([Chunk(pixels, last=True) for pixels in keys])
        return [
            self._result(chunk, pixels, at, earlier, encoded.embeddings)
            for chunk, (pixels, at, earlier), encoded in zip(
                chunks, streams, encodings, strict=True
            )
        ]

    def _receive(self, chunk: Chunk) -> tuple[Tensor, Tensor, Tensor | None]:
        """Waiting frames, which of them are keys, and the vector of the key before them."""
        state = chunk.state
        pixels = torch.cat([state.pending, chunk.pixels]) if state else chunk.pixels
        earlier = state.tensors.get("key") if state else None
        first = 0 if earlier is None else self.every - 1
        at = list(range(first, len(pixels), self.every))
        if chunk.last and len(pixels) and (not at or at[-1] < len(pixels) - 1):
            at.append(len(pixels) - 1)
        return pixels, torch.tensor(at, dtype=torch.long), earlier

    def _result(
        self, chunk: Chunk, pixels: Tensor, at: Tensor, earlier: Tensor | None, vectors: Tensor
    ) -> Encoded:
        config, device = self.tower.config, vectors.device
        done = int(at[-1]) + 1 if len(at) else 0
        full = torch.zeros(done, dtype=torch.bool, device=device)
        full[at.to(device)] = True
        places, known = at.tolist(), vectors
        if earlier is not None:
            places, known = [-1, *places], torch.cat([earlier[None], vectors])
        rows = torch.full((done, config.layers), config.tokens, dtype=torch.int32, device=device)
        state = None
        if not chunk.last:
            received = (chunk.state.num_frames if chunk.state else 0) + len(chunk.pixels)
            tensors = {"key": known[-1].clone()} if len(known) else {}
            state = StreamState(received, pixels[done:].clone(), None, tensors, {})
        return Encoded(
            embeddings=_lines(places, known, done),
            computed=rows * full[:, None],
            macs=full.double() * dense_macs(config),
            full=full,
            state=state,
        )


def _lines(places: Sequence[int], known: Tensor, done: int) -> Tensor:
    """Vectors of frames 0 to `done`, on straight lines between those known at `places`."""
    if not done:
        return known[:0]
    bounds = torch.tensor(places, device=known.device)
    frames = torch.arange(done, device=known.device)
    right = torch.searchsorted(bounds, frames).clamp(max=len(places) - 1)
    left = (right - 1).clamp(min=0)
    span = (bounds[right] - bounds[left]).clamp(min=1)
    weight = ((frames - bounds[left]) / span).to(known.dtype)[:, None]
    return known[left] + (known[right] - known[left]) * weight
