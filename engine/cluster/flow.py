"""The flow of work: who decodes what, who encodes it, by credits, so that nothing piles up.

Plain bookkeeping without a clock, a thread or Ray: whoever runs it tells what has happened and
carries out the orders. The driver of a cluster does, and the simulation of one.

- A decoder has one job at a time and at most `HELD` parcels of pixels that nobody has taken yet; it
  makes no further one until one of them is taken.
- An encoder has room for so many parcels; each one that it is given takes a credit, which comes
  back when its rows are there.

So no more parcels exist than the decoders may hold and the encoders have room for, whatever is slow
or dies.
"""

from collections import Counter, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Generic, TypeVar

HELD = 2  # parcels of one decoder that wait for an encoder

J = TypeVar("J", bound=Hashable)  # a job: what one decoder does in one pass
P = TypeVar("P", bound=Hashable)  # a parcel: pixels of a stretch, made by a decoder


@dataclass(frozen=True, slots=True)
class Decode(Generic[J]):
    """Order a decoder to make the next parcel of a job; `begins` where it is the first."""

    decoder: str
    job: J
    begins: bool


@dataclass(frozen=True, slots=True)
class Encode(Generic[P]):
    """Order a parcel to be brought to an encoder."""

    encoder: str
    parcel: P


@dataclass(slots=True)
class _Decoder(Generic[J]):
    node: str
    job: J | None = None  # that it has begun and not ended
    busy: bool = False  # making a parcel
    held: int = 0  # parcels of it that wait


@dataclass(slots=True)
class _Encoder(Generic[P]):
    node: str
    room: int
    holds: set[P] = field(default_factory=set)
    line: deque[P] = field(default_factory=deque)  # parcels that wait for it and no other

    @property
    def free(self) -> int:
        return self.room - len(self.holds) - len(self.line)


@dataclass(slots=True)
class _Parcel:
    video: Hashable
    decoder: str | None  # None: an encoder has it


@dataclass(slots=True)
class Flow(Generic[J, P]):
    """Jobs on their way through decoders and encoders.

    With `sticky` all parcels of a video go to one encoder, which has the state of its audit, as
    long as that lives.
    """

    sticky: bool = False
    _waiting: deque[tuple[J, Hashable]] = field(default_factory=deque)  # jobs with their videos
    _decoders: dict[str, _Decoder[J]] = field(default_factory=dict)
    _encoders: dict[str, _Encoder[P]] = field(default_factory=dict)
    _parcels: dict[P, _Parcel] = field(default_factory=dict)
    _line: deque[P] = field(default_factory=deque)  # parcels that have no encoder yet
    _ready: deque[str] = field(default_factory=deque)  # decoders that may be able to go on
    _idle: dict[str, None] = field(default_factory=dict)  # those of them that have no job
    _emptiest: list[tuple[int, str]] = field(default_factory=list)  # a heap; some are out of date
    _video_of: dict[J, Hashable] = field(default_factory=dict)  # of jobs that were begun
    _homes: dict[Hashable, str] = field(default_factory=dict)  # the encoder of a video
    _open: Counter[Hashable] = field(default_factory=Counter)  # jobs and parcels of a video

    # who works

    def add_decoder(self, name: str, node: str) -> None:
        """Take on a decoder."""
        self._decoders[name] = _Decoder(node)
        self._ready.append(name)

    def add_encoder(self, name: str, node: str, room: int) -> None:
        """Take on an encoder that may have so many parcels at a time."""
        self._encoders[name] = _Encoder(node, room)
        self._note_room(name)

    def lose_decoder(self, name: str) -> J | None:
        """Do without a decoder; return the job that it had not ended, which is dropped.

        Parcels that it has made may still be had.
        """
        job = self._decoders.pop(name).job
        if job is not None:
            self._close(self._video_of.pop(job))
        return job

    def lose_encoder(self, name: str) -> None:
        """Do without an encoder; the parcels that it had wait for another."""
        gone = self._encoders.pop(name)
        self._homes = {video: home for video, home in self._homes.items() if home != name}
        self._line.extendleft([*gone.holds, *gone.line])

    @property
    def decoders(self) -> int:
        """How many decoders there are."""
        return len(self._decoders)

    @property
    def encoders(self) -> int:
        """How many encoders there are."""
        return len(self._encoders)

    # what is to be done

    @property
    def hungry(self) -> bool:
        """Whether more jobs should be looked for: two for each decoder."""
        return len(self._waiting) < 2 * max(len(self._decoders), 1)

    @property
    def idle(self) -> bool:
        """Whether nothing is being done, nor waits."""
        return not (self._waiting or self._video_of or self._parcels)

    def offer(self, job: J, video: Hashable, *, first: bool = False) -> None:
        """Line a job up; what was lost goes `first`, so that its video ends soon."""
        self._open[video] += 1
        (self._waiting.appendleft if first else self._waiting.append)((job, video))

    def clear(self) -> list[J]:
        """Drop the jobs that no decoder has begun, and return them."""
        dropped = [job for job, _ in self._waiting]
        for _, video in self._waiting:
            self._close(video)
        self._waiting.clear()
        return dropped

    def orders(self) -> Iterator[Decode[J] | Encode[P]]:
        """Give out all that can be done now: parcels to encoders first, then jobs to decoders."""
        yield from self._deliver()
        while self._ready:
            name = self._ready.popleft()
            decoder = self._decoders.get(name)
            if decoder is None or decoder.busy or decoder.held >= HELD:
                continue
            if decoder.job is None:
                self._idle[name] = None
                continue
            decoder.busy = True
            yield Decode(name, decoder.job, begins=False)
        while self._waiting and self._idle:
            name, _ = self._idle.popitem()
            if (decoder := self._decoders.get(name)) is None:
                continue
            decoder.job, video = self._waiting.popleft()
            self._video_of[decoder.job], decoder.busy = video, True
            yield Decode(name, decoder.job, begins=True)

    def _deliver(self) -> Iterator[Encode[P]]:
        """Give the parcels that wait, in the order they were made, to encoders with room."""
        while self._line and (name := self._choose(self._line[0])):
            parcel = self._line.popleft()
            encoder = self._encoders[name]
            if len(encoder.holds) < encoder.room and not encoder.line:
                yield self._hand(parcel, name)
            else:
                encoder.line.append(parcel)
                self._note_room(name)
        if self.sticky:
            for name, encoder in self._encoders.items():
                while encoder.line and len(encoder.holds) < encoder.room:
                    yield self._hand(encoder.line.popleft(), name)

    def _hand(self, parcel: P, name: str) -> Encode[P]:
        known = self._parcels[parcel]
        if known.decoder in self._decoders:
            self._decoders[known.decoder].held -= 1
            self._ready.append(known.decoder)
        known.decoder = None
        self._encoders[name].holds.add(parcel)
        self._note_room(name)
        return Encode(name, parcel)

    def _choose(self, parcel: P) -> str | None:
        """Choose the encoder of a video, else the emptiest."""
        known = self._parcels[parcel]
        if self.sticky and (home := self._homes.get(known.video)):
            return home
        while self._emptiest:
            taken, name = self._emptiest[0]
            encoder = self._encoders.get(name)
            if encoder is None or taken != encoder.room - encoder.free:
                heappop(self._emptiest)
            elif encoder.free <= 0:
                return None
            else:
                if self.sticky:
                    self._homes[known.video] = name
                return name
        return None

    def _note_room(self, name: str) -> None:
        encoder = self._encoders[name]
        heappush(self._emptiest, (encoder.room - encoder.free, name))

    # what has happened

    def decoded(self, decoder: str, parcel: P | None, *, ends: bool) -> None:
        """Note that a decoder has made a parcel, or none; `ends` where its job is over."""
        worker = self._decoders[decoder]
        assert worker.job is not None
        video, worker.busy = self._video_of[worker.job], False
        if parcel is not None:
            self._parcels[parcel] = _Parcel(video, decoder)
            self._line.append(parcel)
            self._open[video] += 1
            worker.held += 1
        if ends:
            del self._video_of[worker.job]
            worker.job = None
            self._close(video)
        self._ready.append(decoder)

    def encoded(self, encoder: str, parcel: P) -> None:
        """Note that a parcel's rows are there, or that it was lost on its way: a credit is back."""
        self._encoders[encoder].holds.remove(parcel)
        self._note_room(encoder)
        self._drop(parcel)

    def _drop(self, parcel: P) -> None:
        self._close(self._parcels.pop(parcel).video)

    def _close(self, video: Hashable) -> None:
        self._open[video] -= 1
        if not self._open[video]:
            del self._open[video]
            self._homes.pop(video, None)
