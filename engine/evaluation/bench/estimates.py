"""Estimates of decoding and encoding beside what these take, query after query, from none known.

Times are of the processor, by the thread that works: that of a busy machine's clock says little.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import thread_time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from engine.evaluation.bench.clips import write_moving
from engine.evaluation.report import Report
from engine.search.context import Range
from engine.search.options import Options
from engine.search.rates import EmbeddingRates, decoding_of, encoding_of, expected_frames
from engine.search.work import Embedded
from engine.session import Engine

if TYPE_CHECKING:
    from engine.ingesting.report import IngestOptions

SIZES = ((90, 160), (180, 320), (360, 640))
RATES = (10, 25)  # frames per second; a group of pictures has four seconds
LEARNT = 10  # queries after which estimates are counted
COLUMNS = ("query", "ranges", "seconds", "frames", "decode", "of actual", "encode", "of actual ")


@dataclass(frozen=True, slots=True)
class Estimated:
    """One query: what it embedded, and the seconds expected and taken."""

    query: int
    ranges: int
    span_seconds: float
    frames: int
    decode: tuple[float, float]
    encode: tuple[float, float]

    @property
    def of_decode(self) -> float:
        """Expected over taken."""
        return self.decode[0] / self.decode[1]

    @property
    def of_encode(self) -> float:
        """Expected over taken."""
        return self.encode[0] / self.encode[1]


class Estimating(Engine):
    """An engine that notes what was expected of each embedding, and what it took."""

    noted: list[Estimated]
    number: int = 0

    def ingest_options(self, **given: Any) -> "IngestOptions":
        """Time by the processor, one thread decoding."""
        return replace(super().ingest_options(**given), clock=thread_time, workers=1)

    def _embed(self, missing: Sequence[Range], options: Options) -> Embedded:
        context = self._contexts.make({}, self._embed)
        rates = EmbeddingRates.load(self.store, self.space)
        decode = rates.decode.expected(decoding_of(context, missing))
        frames = expected_frames(context, missing)
        encode = rates.encode.expected({encoding_of(context): frames})
        done = super()._embed(missing, options)
        span = sum(part.stop_seconds - part.start_seconds for part in missing)
        took = (decode, done.decode_seconds), (encode, done.encode_seconds)
        self.noted.append(Estimated(self.number, len(missing), span, done.frames, *took))
        return done


def run(*, clips: int = 18, queries: int = 20, seed: int = 1, model: str = "builtin") -> Report:
    """Register made-up clips, ask queries of varied shape that embed, and compare."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Path(folder), clips, queries, seed, model)
    finally:
        torch.set_num_threads(threads)
    return _report(found)


def measure(root: Path, clips: int, queries: int, seed: int, model: str) -> list[Estimated]:
    """Ask until so many queries have embedded something."""
    draw = np.random.default_rng(seed)
    for number in range(clips):
        size, fps = SIZES[number % len(SIZES)], RATES[number % len(RATES)]
        seconds = float(draw.integers(20, 40))
        write_moving(root / "clips" / f"{number}.mp4", seconds, size=size, fps=fps, seed=number)
    with Estimating.open(root / "data", model, "cpu", strategy="dense", fps=2.0) as engine:
        engine.noted = []
        engine.register(root / "clips")
        for where in _conditions(draw, clips):
            engine.sql(f"SELECT f.frame FROM frames f WHERE {where} AND CLIP_MATCH(f.frame, 'x')")
            engine.number = len(engine.noted)
            if len(engine.noted) >= queries:
                break
    return engine.noted


def _conditions(draw: np.random.Generator, clips: int) -> Iterator[str]:
    """Yield conditions of several shapes: moments, ranges, ends, of one video or some."""
    for number in range(20 * clips):
        some = draw.choice(clips, draw.integers(1, 4), replace=False) + 1
        one, listed = int(some[0]), ", ".join(map(str, some))
        at = float(draw.integers(0, 30))
        yield (
            f"f.video_id = {one} AND f.seconds = {at}",
            f"f.video_id IN ({listed}) AND f.seconds BETWEEN {at} AND {at + 6}",
            f"f.video_id = {one} AND f.seconds > {at}",
            f"f.seconds = {at} AND f.video_id % 3 = {one % 3}",
            f"f.video_id IN ({listed}) AND (f.seconds < 3 OR f.seconds > {at + 4})",
        )[number % 5]


def _report(found: Sequence[Estimated]) -> Report:
    rows = [
        (
            item.query + 1, item.ranges, item.span_seconds, item.frames, item.decode[1],
            item.of_decode, item.encode[1], item.of_encode,
        )
        for item in found
    ]  # fmt: skip
    later = found[LEARNT:]
    ratios = [ratio for item in later for ratio in (item.of_decode, item.of_encode)]
    within = sum(0.5 <= ratio <= 2 for ratio in ratios)
    return Report(
        "Estimates of decoding and encoding over what they took (processor seconds)",
        COLUMNS,
        rows,
        (f"after {LEARNT} queries {within} of {len(ratios)} estimates are within twice of it",),
        {"within": within, "of": len(ratios)},
    )
