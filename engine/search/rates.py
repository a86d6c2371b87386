"""What decoding and encoding have taken, by what they depend on; learned from every run.

Decoding goes by codec and size of the picture, encoding by strategy and device. A run over several
kinds tells one time alone: it is divided among them as was expected, and weighs with each as much
as its share was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log2
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from engine.search.context import Range, SearchContext
from engine.search.work import Embedded
from engine.storage.store import Store

DECODE: Final = 0.05  # seconds per second of video of whose kind nothing is known
ENCODE: Final = 0.03  # per frame
_KEPT = 0.3  # of what was learned before counts beside what a run tells
_FPS = 2.0  # where neither the query nor the engine says it

Amounts = Mapping[str, float]  # units of work by their kind


@dataclass(frozen=True, slots=True)
class Learned:
    """Seconds that units of work of one kind took, older ones weighted less."""

    units: float
    seconds: float


@dataclass(frozen=True, slots=True)
class WorkRates:
    """Seconds per unit of work by kind; of an unknown kind those of the nearest known one."""

    unknown: float  # seconds per unit where no kind is known
    known: Mapping[str, Learned] = field(default_factory=dict)

    @classmethod
    def of_json(cls, unknown: float, stored: Mapping[str, Any]) -> Self:
        """Read what `as_json` gave."""
        return cls(unknown, {kind: Learned(*pair) for kind, pair in stored.items()})

    def as_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {kind: [one.units, one.seconds] for kind, one in self.known.items()}

    def rate(self, kind: str) -> float:
        """Return the seconds that a unit of a kind takes; pictures cost by their pixels."""
        if not self.known:
            return self.unknown
        name, _, size = kind.partition(" of 2^")

        def distance(other: str) -> tuple[bool, float]:
            known, _, its_size = other.partition(" of 2^")
            apart = abs(float(size) - float(its_size)) if size and its_size else 0.0
            return known != name, apart

        nearest = min(self.known, key=distance)
        its_size = nearest.partition(" of 2^")[2]
        larger = float(size) - float(its_size) if size and its_size else 0.0
        return 2**larger * self.known[nearest].seconds / self.known[nearest].units

    def expected(self, amounts: Amounts) -> float:
        """Return the seconds that work is expected to take."""
        return sum(units * self.rate(kind) for kind, units in amounts.items())

    def learn(self, amounts: Amounts, seconds: float) -> "WorkRates":
        """Return what is known after work that took so long."""
        expected = self.expected(amounts)
        if not expected or seconds <= 0:
            return self
        known = dict(self.known)
        for kind, units in amounts.items():
            if units > 0:
                share = units * self.rate(kind) / expected
                old = self.known.get(kind, Learned(0.0, 0.0))
                known[kind] = Learned(
                    _KEPT * old.units + share * units, _KEPT * old.seconds + share * seconds * share
                )
        return WorkRates(self.unknown, known)


@dataclass(frozen=True, slots=True)
class EmbeddingRates:
    """What embedding takes in a space."""

    decode: WorkRates
    encode: WorkRates

    @classmethod
    def load(cls, store: Store, space: str) -> Self:
        """Read what was learned so far."""
        stored = store.catalog.calibration(space, "rates") or {}
        decode, encode = (stored.get(name) for name in ("decode", "encode"))
        return cls(
            WorkRates.of_json(DECODE, decode if isinstance(decode, dict) else {}),
            WorkRates.of_json(ENCODE, encode if isinstance(encode, dict) else {}),
        )

    def learn(
        self, decoded: Amounts, decode_seconds: float, encoded: Amounts, encode_seconds: float
    ) -> "EmbeddingRates":
        """Return what is known after a run."""
        decode = self.decode.learn(decoded, decode_seconds)
        return EmbeddingRates(decode, self.encode.learn(encoded, encode_seconds))

    def keep(self, context: SearchContext) -> None:
        """Store what is known."""
        stored = {"decode": self.decode.as_json(), "encode": self.encode.as_json()}
        context.store.catalog.set_calibration(context.space, "rates", stored)


def learn_from(context: SearchContext, missing: Sequence[Range], done: Embedded) -> None:
    """Keep what embedding all of these ranges took."""
    frames = {encoding_of(context): float(done.frames)}
    decoded = decoding_of(context, missing)
    rates = EmbeddingRates.load(context.store, context.space)
    rates.learn(decoded, done.decode_seconds, frames, done.encode_seconds).keep(context)


def decoding_of(context: SearchContext, missing: Sequence[Range]) -> dict[str, float]:
    """Return the seconds of video in ranges by their kind."""
    kinds = kinds_of(context, [item.video_id for item in missing])
    amounts: dict[str, float] = {}
    for item in missing:
        kind = kinds.get(item.video_id, "")
        amounts[kind] = amounts.get(kind, 0.0) + item.stop_seconds - item.start_seconds
    return amounts


def kinds_of(context: SearchContext, video_ids: Sequence[int]) -> dict[int, str]:
    """Return the codec and size of videos, the pixels to the next power of two."""
    videos = context.reading.view.videos.select(["video_id", "codec", "width", "height"])
    wanted = pc.is_in(videos.column("video_id"), pa.array(video_ids, pa.int64()))
    return {
        row["video_id"]: kind_of(row["codec"], row["width"], row["height"])
        for row in videos.filter(wanted).to_pylist()
        if row["width"] and row["height"]
    }


def kind_of(codec: str, width: int, height: int) -> str:
    """Return the codec and size of a video, the pixels to the next power of two."""
    return f"{codec} of 2^{round(log2(width * height))}"


def encoding_of(context: SearchContext) -> str:
    """Return the kind of encoding that a query would do."""
    return encoding_by(context.options.strategy, context.device)


def encoding_by(strategy: str | None, device: str) -> str:
    """Return the kind of encoding by a strategy on a device."""
    return f"{strategy} on {device}"


def expected_frames(context: SearchContext, missing: Sequence[Range]) -> float:
    """Return how many frames the ranges are expected to give."""
    seconds = sum(item.stop_seconds - item.start_seconds for item in missing)
    return seconds * (context.options.fps or _FPS)
