"""What all strategies that encode frames in steps share: receive, run, hand out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor

from engine.vision.backbone.tower import VisionTower
from engine.vision.streaming.call import Call
from engine.vision.streaming.strategy import Chunk, Encoded
from engine.vision.streaming.streams import S, Stream


class Method(Protocol[S]):
    """The arithmetic of a strategy that encodes a stream's frames in steps; the rest is shared."""

    @property
    def tower(self) -> VisionTower:
        """The frozen backbone."""

    def receive(self, chunks: Sequence[Chunk]) -> list[Stream[S, Any]]:
        """Join the chunks' frames to those that wait, and say in which steps they are encoded."""

    def run(self, streams: Sequence[Stream[S, Any]], call: Call) -> Tensor:
        """Encode what the steps say; return the multiply-accumulates of the call's frames `[P]`."""


def encode_streams(method: Method[S], chunks: Sequence[Chunk]) -> list[Encoded]:
    """Receive frames, run the method on all streams together, and hand out what is done."""
    streams = method.receive(chunks)
    call = Call(method.tower, streams)
    macs = method.run(streams, call)
    full = call.sent(call.full)
    shares = call.shares([stream.done for stream in streams])
    return [
        Encoded(call.embeddings[rows], call.computed[rows], macs[rows], full[rows], _left(stream))
        for stream, rows in zip(streams, shares, strict=True)
    ]


def _left(stream: Stream[S, Any]) -> S | None:
    """Return the state of a stream that goes on: the frames that are done wait no more."""
    if stream.last:
        return None
    return replace(stream.state, pending=stream.state.pending[stream.done :].clone())
