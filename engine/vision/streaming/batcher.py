"""Reuse-aware batching: many streams side by side, each lane full until the last frame."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import islice
from sys import maxsize
from time import perf_counter
from typing import Generic, TypeVar

import torch
from torch import Tensor

from engine.errors import UsageError
from engine.vision.streaming.ahead import ahead
from engine.vision.streaming.results import EndedStreams, fetch
from engine.vision.streaming.strategy import Chunk, Encoded, Looking, Strategy, StreamState

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class StreamSource(Generic[K]):
    """One stream to encode: its frames as blocks of any size, decoded as they are asked for."""

    key: K
    blocks: Iterable[Chunk]  # pixels and, where the strategy wants them, cues
    num_frames: int | None = None  # where known; long streams are begun first


@dataclass(frozen=True, slots=True)
class TurnResult(Generic[K]):
    """What one turn gave for one stream, without its state; `last` ends it."""

    key: K
    encoded: Encoded
    last: bool


class Batcher:
    """Feed a strategy with turns of up to `lanes` times `frames` frames.

    A lane whose stream ends within a turn goes on with the next stream in the same turn, so that
    all lanes have the same work until no stream is left to begin. A strategy that wants whole
    streams gets them uncut, about as many frames in a turn. The next turn is decoded, and on
    a GPU copied through pinned memory on a stream of its own, while one is encoded. A stream's
    results do not depend on the lanes, nor on the streams beside it. Once `ended` says so no turn
    is begun, and streams that are not through give nothing.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        lanes: int = 64,
        frames: int = 64,
        lookahead: int = 1024,
        ended: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        if min(lanes, frames, lookahead) < 1:
            raise UsageError(
                f"lanes, frames and lookahead must be 1 or more, got {lanes}, {frames}, {lookahead}"
            )
        self.strategy = strategy
        self.lanes = lanes
        self.frames = frames
        self.lookahead = lookahead
        self.ended = ended
        self.clock = clock
        self.turns = 0
        self.encoded = 0
        self.seconds = 0.0  # that the strategy took, as far as the host waited for it
        device = strategy.tower.device
        # streams have memory of their own: the same ones for every turn
        on_gpu = device.type == "cuda"
        self._sending = torch.cuda.Stream(device) if on_gpu else None
        self._reading = torch.cuda.Stream(device) if on_gpu else None

    @property
    def occupancy(self) -> float:
        """Share of the turns' room that held a frame."""
        return self.encoded / max(1, self.turns * self.lanes * self.frames)

    def run(self, sources: Iterable[StreamSource[K]]) -> Iterator[TurnResult[K]]:
        """Encode all streams; a stream's parts come in order, those of different ones mixed."""
        for turn in self._encoded(sources):
            yield from turn

    def whole(self, sources: Iterable[StreamSource[K]]) -> Iterator[list[tuple[K, Encoded]]]:
        """Encode all streams; turn by turn those that ended, each with all its frames.

        On a GPU a turn's results are brought to the host when the next has been sent off, so that
        the device works while they are read.
        """
        parts: dict[K, list[Encoded]] = {}
        held: EndedStreams[K] | None = None
        for turn in self._encoded(sources):
            if held is not None:
                yield held.read(self._reading)
            for part in turn:
                parts.setdefault(part.key, []).append(part.encoded)
            ended = [(part.key, parts.pop(part.key)) for part in turn if part.last]
            held = EndedStreams(ended) if ended else None
            if held is not None and self._reading is None:
                yield held.read(None)
                held = None
        if held is not None:
            yield held.read(self._reading)

    def _encoded(self, sources: Iterable[StreamSource[K]]) -> Iterator[list[TurnResult[K]]]:
        states: dict[int, StreamState | None] = {}
        staged = map(self._stage, self._turns(iter(sources)))
        # frames made on a GPU wait there behind a turn that is sent off: make them a turn earlier
        depth = 1 if self._sending is None else 2
        for turn in ahead(staged, depth=depth):
            if self.ended():
                return
            pieces = turn.arrive()
            chunks = [
                replace(piece.block, state=states.pop(piece.number, None), last=piece.last)
                for piece in pieces
            ]
            started = self.clock()
            results = self.strategy.encode(chunks)
            self.seconds += self.clock() - started
            self.turns += 1
            self.encoded += sum(len(piece.block.pixels) for piece in pieces)
            for piece, encoded in zip(pieces, results, strict=True):
                if not piece.last:
                    states[piece.number] = encoded.state
            yield [
                TurnResult(piece.key, replace(encoded, state=None), piece.last)
                for piece, encoded in zip(pieces, results, strict=True)
            ]

    def _turns(self, sources: Iterator[StreamSource[K]]) -> Iterator[list["_Piece[K]"]]:
        """Cut the streams into turns: those that go on first, then those that begin, long first."""
        waiting = _Waiting(sources, self.lookahead, self.strategy.tower.config.image_size)
        if self.strategy.whole_streams:
            yield from self._whole_turns(waiting)
            return
        lanes: list[_Open[K] | None] = [None] * self.lanes
        while True:
            going: list[_Piece[K]] = []
            begun: list[_Piece[K]] = []
            for at in range(self.lanes):
                room = self.frames
                while room and (stream := lanes[at] or waiting.next()):
                    pieces = begun if stream.taken == 0 else going
                    piece = stream.take(room)
                    pieces.append(piece)
                    room -= len(piece.block.pixels)
                    lanes[at] = None if piece.last else stream
            if not going and not begun:
                return
            yield going + sorted(begun, key=lambda piece: -len(piece.block.pixels))

    def _whole_turns(self, waiting: "_Waiting[K]") -> Iterator[list["_Piece[K]"]]:
        """Gather streams as they are, another one while the turn has room for a frame."""
        room, turn = self.lanes * self.frames, list[_Piece[K]]()
        while stream := waiting.next():
            turn.append(stream.take(maxsize))
            room -= len(turn[-1].block.pixels)
            if room <= 0:
                yield turn
                room, turn = self.lanes * self.frames, []
        if turn:
            yield turn

    def _stage(self, pieces: list["_Piece[K]"]) -> "_Turn[K]":
        """Copy pieces to the device, and begin to read what the strategy looks at."""
        strategy, side = self.strategy, self._sending
        if side is None:
            return _Turn(pieces, None, None)
        device, looked = strategy.tower.device, None
        if any(piece.block.pixels.is_cuda for piece in pieces):
            side.wait_stream(torch.cuda.current_stream(device))  # where they were made
        with torch.cuda.stream(side):
            moved = [piece.moved(device) for piece in pieces]
            if isinstance(strategy, Looking):
                looked = fetch(torch.cat([strategy.look(piece.block.pixels) for piece in moved]))
            return _Turn(moved, side.record_event(), looked)


@dataclass(frozen=True, slots=True)
class _Piece(Generic[K]):
    """The frames of one stream in one turn."""

    number: int
    key: K
    block: Chunk
    last: bool

    def moved(self, device: torch.device) -> "_Piece[K]":
        """Copy to the device through pinned memory, without waiting."""
        cues = None if self.block.cues is None else _send(self.block.cues, device)
        block = replace(self.block, pixels=_send(self.block.pixels, device), cues=cues)
        return _Piece(self.number, self.key, block, self.last)


def _send(values: Tensor, device: torch.device) -> Tensor:
    return values if values.is_cuda else values.pin_memory().to(device, non_blocking=True)


@dataclass(frozen=True, slots=True)
class _Turn(Generic[K]):
    """Pieces on their way to the device, and what the strategy looks at on its way back."""

    pieces: Sequence[_Piece[K]]
    sent: torch.cuda.Event | None
    looked: Tensor | None

    def arrive(self) -> Sequence[_Piece[K]]:
        """Let the current stream wait for the copies; the host where it looks."""
        if self.sent is None:
            return self.pieces
        current = torch.cuda.current_stream()
        current.wait_event(self.sent)
        for piece in self.pieces:
            piece.block.pixels.record_stream(current)
            if piece.block.cues is not None:
                piece.block.cues.record_stream(current)
        if self.looked is None:
            return self.pieces
        self.sent.synchronize()
        shares = self.looked.split([len(piece.block.pixels) for piece in self.pieces])
        return [
            replace(piece, block=replace(piece.block, looked=share))
            for piece, share in zip(self.pieces, shares, strict=True)
        ]


class _Open(Generic[K]):
    """A stream that has begun, with the frames decoded but not yet handed out."""

    def __init__(self, number: int, source: StreamSource[K], size: int) -> None:
        self.number = number
        self._size = size
        self.source = source
        self.taken = 0
        self._blocks = iter(source.blocks)
        self._held: list[Chunk] = []
        self._ended = False

    def take(self, room: int) -> _Piece[K]:
        """Hand out up to `room` frames; one block more is decoded to know whether they are last."""
        while not self._ended and sum(len(block.pixels) for block in self._held) <= room:
            block = next(self._blocks, None)
            self._ended = block is None
            if block is not None:
                self._held.append(block)
        whole = _join(self._held, self._size)
        taken, left = _split(whole, room)
        self._held = [left] if len(left.pixels) else []
        self.taken += len(taken.pixels)
        return _Piece(self.number, self.source.key, taken, self._ended and not self._held)


class _Waiting(Generic[K]):
    """Streams not yet begun: of those in sight the longest comes next."""

    def __init__(self, sources: Iterator[StreamSource[K]], lookahead: int, size: int) -> None:
        self._sources = enumerate(sources)
        self._size = size
        self._lookahead = lookahead
        self._seen: list[tuple[int, int, StreamSource[K]]] = []  # a heap
        self._number = 0

    def next(self) -> _Open[K] | None:
        """Begin a stream, or return None when there is none left."""
        for at, source in islice(self._sources, self._lookahead - len(self._seen)):
            heappush(self._seen, (-(source.num_frames or 0), at, source))
        if not self._seen:
            return None
        self._number += 1
        return _Open(self._number, heappop(self._seen)[-1], self._size)


def _join(blocks: Sequence[Chunk], size: int) -> Chunk:
    if not blocks:
        return Chunk(torch.empty(0, 3, size, size, dtype=torch.uint8))
    cues = [block.cues for block in blocks if block.cues is not None]
    return Chunk(
        torch.cat([block.pixels for block in blocks]) if len(blocks) > 1 else blocks[0].pixels,
        cues=torch.cat(cues) if cues else None,
        part_of=blocks[0].part_of,
    )


def _split(block: Chunk, at: int) -> tuple[Chunk, Chunk]:
    cues = (None, None) if block.cues is None else (block.cues[:at], block.cues[at:])
    first, second = (block.pixels[:at], block.pixels[at:])
    return replace(block, pixels=first, cues=cues[0]), replace(block, pixels=second, cues=cues[1])
