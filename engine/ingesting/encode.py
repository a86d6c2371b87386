"""Prepared stretches to rows: several streams side by side through one strategy."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from engine.ingesting.gate import DecodeGate
from engine.ingesting.plan import Source, Stretch
from engine.ingesting.prepare import Decoded, PreparedStretch
from engine.ingesting.report import IngestOptions
from engine.storage.store import Rows, WrittenPart
from engine.vision.backbone.macs import dense_macs
from engine.vision.bounded.auto import Auto, StrategyChoice
from engine.vision.bounded.bound import Bounded
from engine.vision.model import Model
from engine.vision.registry import build_strategy, fitting, options_of
from engine.vision.reusevit.strategy import cue_side
from engine.vision.streaming.batcher import Batcher, StreamSource
from engine.vision.streaming.dense import Dense
from engine.vision.streaming.strategy import Chunk, Encoded, PartOf, Strategy, reuse_rate

LANE_FRAMES = 64  # of a lane in one turn: about a stretch
SHORT_FRAMES = 8  # where time may run out within a stretch
GATE_SHARE = (
    0.5  # of the bound, at most, and of its risk, for the decode gate; the strategy has the rest
)
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Done:
    """One stretch as rows, and what they took; its pixels are let go."""

    source: Source
    stretch: Stretch
    strategy: str
    choice: str  # why that strategy
    rows: Rows | WrittenPart  # in a process elsewhere they are written there
    full: int
    tokens: int  # of the layers after the first
    tokens_reused: int
    macs: float
    macs_dense: float
    seconds: float


@dataclass(slots=True)
class StretchEncoder:
    """A model with the strategy that was asked for, or with those that `auto` chooses among.

    `choices` of `auto` that were made elsewhere hold here, unchanged; none at all means dense.
    `few` says that there are so
    few frames that they are not weighed: `auto` is dense.
    """

    model: Model
    options: IngestOptions
    choices: Mapping[str, StrategyChoice] | None = None
    few: bool = False
    strategy: Strategy = field(init=False)
    gate: DecodeGate | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        name, bound = self.options.strategy, self.options.max_drift
        dense = build_strategy("dense", self.model.tower)
        of_clips = self.model.preprocessing.pictures > 1  # each is embedded, whatever moves
        if self.options.decode_gate and bound is not None and not of_clips:
            alone = self.few or name == dense.name
            share = 1.0 if alone else GATE_SHARE
            self.gate = DecodeGate(
                partial(_embed_exactly, self.model), share * bound, share * (1 - CONFIDENCE)
            )
        if name != "auto" or self.few or self.model.tower.foreign:
            whole = self.few or (name == "auto" and self.model.tower.foreign)
            self.strategy = dense if whole else self._build(name, dense)
            return
        names = fitting(self.model.space, self.options.parts, self.model.device.type)
        candidates = {each: self._build(each, dense) for each in names}
        given = self.choices is not None
        self.strategy = Auto(candidates, bound, dict(self.choices or {}), given=given)

    @property
    def auto(self) -> Auto | None:
        """What chooses, if the choice was left to it."""
        return self.strategy if isinstance(self.strategy, Auto) else None

    @property
    def choice(self) -> str:
        """The strategy and why, in words."""
        if self.auto:
            return self.auto.choice
        if self.model.tower.foreign:
            return f"dense: {self.model.tower.foreign}"
        if self.options.coverage == "keys":
            return "dense: first frames of groups of pictures, far apart"
        if self.few:
            return f"dense: fewer than {self.options.weigh_from} frames, too few to weigh others by"
        return f"{self.options.strategy}, as asked for"

    @property
    def choices_made(self) -> list[dict[str, Any]]:
        """What `auto` chose and what it weighed, JSON-ready."""
        return [asdict(choice) for choice in self.auto.choices.values()] if self.auto else []

    @property
    def cue_side(self) -> int | None:
        """Cells along the maps of codec cues, if a strategy was trained with them."""
        served = self.auto.candidates.values() if self.auto else [self.strategy]
        return cue_side(each.strategy if isinstance(each, Bounded) else each for each in served)

    @property
    def streams(self) -> int:
        """How many stretches to encode side by side."""
        return streams_on(self.model.device.type, self.options)

    def run(
        self, items: Iterable[PreparedStretch], ended: Callable[[], bool] | None = None
    ) -> Generator[list[Done], None, None]:
        """Encode stretches, each a stream of its own; turn by turn those that are done.

        Lanes are kept full while stretches end and begin; the next turn is put together, and on a
        GPU copied, while one is encoded. With `ended` turns are short, on a CPU one stretch after
        the other, and none is begun once it says so: what is not through then gives no rows.
        """
        batcher = Batcher(
            self.strategy,
            lanes=1 if ended and self.model.device.type == "cpu" else self.streams,
            frames=SHORT_FRAMES if ended else LANE_FRAMES,
            lookahead=1,
            ended=ended or (lambda: False),
            clock=self.options.clock,
        )
        waiting: dict[int, Decoded] = {}

        def sources() -> Iterator[StreamSource[int]]:
            for number, prepared in enumerate(items):
                waiting[number] = prepared.event
                chunk = _chunk(prepared, self.model, self.options.max_drift)
                yield StreamSource(number, [chunk], len(prepared.frames))

        spent = 0.0
        for finished in batcher.whole(sources()):
            pairs = [(waiting.pop(number), encoded) for number, encoded in finished]
            yield self._finish(pairs, batcher.seconds - spent)
            spent = batcher.seconds

    def _build(self, name: str, dense: Strategy) -> Strategy:
        model, parts = self.model, self.options.parts.get(name)
        given = options_of(name, self.options.options)
        if name == dense.name and not given:
            return dense
        strategy = build_strategy(name, model.tower, space=model.space, parts=parts, options=given)
        if (bound := self.options.max_drift) is None:
            return strategy
        return Bounded(strategy, dense, max_drift=bound, confidence=CONFIDENCE)

    def _finish(self, pairs: Iterable[tuple[Decoded, Encoded]], seconds: float) -> list[Done]:
        """Bring results to the host, and share the seconds out by frames."""
        started = self.options.clock()
        found = [(each, _rows(each, encoded, self.model), encoded) for each, encoded in pairs]
        seconds += self.options.clock() - started
        frames = max(sum(len(each.frames) for each, _, _ in found), 1)
        return [
            self._done(each, rows, encoded, seconds * len(each.frames) / frames)
            for each, rows, encoded in found
        ]

    def _done(self, decoded: Decoded, rows: Rows, encoded: Encoded, seconds: float) -> Done:
        config, strategy = self.model.tower.config, encoded.strategy or self.strategy.name
        frames, word = len(decoded.frames), decoded.gate
        per_frame = config.tokens * (config.layers - 1)
        tokens = frames * per_frame
        computed = int(encoded.computed[:, 1:].sum())
        computed += per_frame * sum(frame.vector is not None for frame in decoded.frames)
        audited = word.embedded if word else 0
        return Done(
            source=decoded.task.source,
            stretch=decoded.stretch,
            strategy=strategy,
            choice=self.auto.why(strategy) if self.auto else self.choice,
            rows=rows,
            full=int(rows.exact.sum()),
            tokens=tokens,
            tokens_reused=tokens - computed,
            macs=float(encoded.macs.sum()) + float(audited * dense_macs(config)),
            macs_dense=float(frames * dense_macs(config)),
            seconds=seconds + (word.encode_seconds if word else 0.0),
        )


def streams_on(device: str, options: IngestOptions) -> int:
    """Return how many stretches to encode side by side on a kind of device."""
    return options.streams or (64 if device == "cuda" else 4)


def _embed_exactly(model: Model, pixels: Tensor) -> NDArray[np.float32]:
    """Unit vectors of frames, each in full; from any thread."""
    tower = model.tower
    with torch.inference_mode():
        vectors = Dense(tower).embed(pixels.to(tower.device))
        return _host(F.normalize(vectors.float(), dim=-1))


def _chunk(prepared: PreparedStretch, model: Model, max_drift: float | None) -> Chunk:
    size = model.tower.config.image_size
    if not prepared.frames:
        return Chunk(torch.empty(0, 3, size, size, dtype=torch.uint8))
    cues = [frame.cues for frame in prepared.frames if frame.cues is not None]
    return Chunk(
        pixels=torch.stack([frame.pixels for frame in prepared.frames]),
        cues=torch.stack(cues) if cues else None,
        part_of=_part_of(prepared, max_drift) if prepared.planned else None,
    )


def _part_of(prepared: PreparedStretch, max_drift: float | None) -> PartOf:
    """Name the video, and what a decode gate left of its bound and of the risk."""
    key, frames, word = prepared.task.source.video_id, prepared.planned, prepared.gate
    if word is None or word.used is None or max_drift is None:
        return PartOf(key, frames)
    return PartOf(key, frames, share=1 - word.used / max_drift, risk=1 - GATE_SHARE)


def _rows(decoded: Decoded, encoded: Encoded, model: Model) -> Rows:
    frames = decoded.frames
    carried = np.array([frame.carried for frame in frames], bool)
    known = np.array([frame.vector is not None for frame in frames], bool)
    at = np.array([frame.frame for frame in frames if frame.frame is not None], np.intp)

    def spread(values: Tensor, of_known: float) -> NDArray[np.float32]:
        """Give each row what its frame has."""
        own = _host(values.float())
        rows = np.full((len(frames), *own.shape[1:]), of_known, np.float32)
        rows[~known] = own[at]
        return rows

    unknown = torch.full((len(encoded.full),), torch.nan)
    drift = unknown if encoded.drift is None else encoded.drift
    drifts = spread(torch.where(encoded.full, 0.0, drift.to(encoded.full.device)), 0.0)
    embeddings = spread(F.normalize(encoded.embeddings.float(), dim=-1), 0.0)
    for row in np.flatnonzero(known):
        embeddings[row] = frames[row].vector
    return Rows(
        frame=np.array([frame.number for frame in frames], np.int32),
        seconds=np.array([frame.seconds for frame in frames], np.float64),
        picture=[frame.picture for frame in frames],
        embeddings=embeddings,
        reuse_rate=np.where(carried, 1.0, spread(reuse_rate(encoded, model.tower), 0.0)),
        drift=np.where(carried, decoded.drift + np.nan_to_num(drifts), drifts),
        exact=spread(encoded.full, 1.0).astype(bool) & ~carried,
        carried=carried,
    )


def _host(values: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = values.cpu().numpy()
    return array
