"""`auto`: the fastest strategy that keeps the bound, weighed on the streams themselves."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

import torch
from torch.nn import functional as F

from engine.vision.backbone.tower import VisionTower
from engine.vision.bounded.bound import SHORTEST
from engine.vision.streaming.cuts import kind_of
from engine.vision.streaming.strategy import Chunk, Encoded, Strategy, check_whole

logger = logging.getLogger(__name__)
DENSE = "dense"
LEAST = SHORTEST  # frames of a stream; shorter ones are dense under a bound whatever serves them
ENOUGH = 64  # frames to weigh by, of each kind; on a GPU all of a call, as they are served there
WARM = 16  # frames of each that are not timed: they pay for what is set up once
MEMORY = 512  # frames that a strategy's time is averaged over


@dataclass(frozen=True, slots=True)
class Weighed:
    """A strategy's time, arithmetic and drift on trial streams, its audit included."""

    strategy: str
    seconds: float  # per frame
    macs: float  # of dense
    drift: float  # mean over the trial's frames, every one looked at
    worst: float  # largest mean of a stream, as if it had the whole bound
    frames: int  # timed


@dataclass(frozen=True, slots=True)
class StrategyChoice:
    """The strategy for streams of one kind, and what it was chosen by."""

    kind: str  # still, moving or cut
    strategy: str
    weighed: tuple[Weighed, ...]

    def __str__(self) -> str:
        """Say the choice and its reason in a line."""
        told = ", ".join(
            f"{each.strategy} {1e3 * each.seconds:.3g} ms a frame at drift {each.drift:.2g}"
            for each in sorted(self.weighed, key=lambda each: each.seconds)
        )
        return f"{self.strategy} for {self.kind} content: {told}"


@dataclass(slots=True)
class Auto:
    """Serve each stream by the strategy that was fastest on streams of its kind.

    A stream's kind is seen in all of its pixels, so it comes whole. The first streams of a kind
    are encoded by every candidate, timed as they are served. The fastest of those whose true mean
    drift was within the bound on each of them is kept, and the exact vectors that the trial gave
    anyway. While it serves, its time goes on being averaged: where it falls behind another's, that
    one takes over. Streams too short to weigh by, before there is a choice, are encoded in full.

    `choices` may be given from elsewhere: nothing is weighed or changed here then, and kinds that
    they lack go by the first of them, or are encoded in full where there is none.
    """

    candidates: Mapping[str, Strategy]  # dense among them
    max_drift: float | None
    choices: dict[str, StrategyChoice] = field(default_factory=dict)
    given: bool = False  # choices are not added to, nor changed
    clock: Callable[[], float] = perf_counter
    saved: float = field(init=False, default=0.0)  # seconds, against dense
    served: int = field(init=False, default=0)  # frames, by a choice
    reasons: dict[tuple[str, str], str] = field(init=False, default_factory=dict)
    name: str = "auto"
    whole_streams: bool = field(init=False, default=True)

    @property
    def tower(self) -> VisionTower:
        """The frozen backbone."""
        return self.candidates[DENSE].tower

    @property
    def choice(self) -> str:
        """The choices and their reasons, in words."""
        if not self.choices:
            return f"dense: no stream had {LEAST} frames to choose by"
        return "; ".join(str(choice) for choice in self.choices.values())

    def why(self, strategy: str) -> str:
        """Return the reasons of the choices that fell on a strategy, in words."""
        self._reason(*self.choices.values())
        told = [reason for (_, chosen), reason in self.reasons.items() if chosen == strategy]
        return "; ".join(told) or f"{strategy}: too few frames to choose by"

    @property
    def saved_seconds(self) -> float | None:
        """Seconds per frame against dense, where that was measured."""
        return max(self.saved / self.served, 0.0) if self.served else None

    @torch.inference_mode()
    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        """Encode whole streams, those of one kind together."""
        check_whole(self, chunks)
        kinds = [kind_of(chunk.pixels, self.tower.config.patch) for chunk in chunks]
        done: dict[int, Encoded] = {}
        for kind in dict.fromkeys(kinds):
            done |= self._serve(kind, {at: chunks[at] for at, k in enumerate(kinds) if k == kind})
        return [done[at] for at in range(len(chunks))]

    def _serve(self, kind: str, streams: Mapping[int, Chunk]) -> dict[int, Encoded]:
        """Encode streams of one kind, weighing first where there is no choice yet."""
        done: dict[int, Encoded] = {}
        choice = self._chosen(kind)
        if choice is None and not self.given and (trial := self._trial(streams)):
            choice, encoded = self._weigh(kind, [streams[at] for at in trial])
            done = dict(zip(trial, encoded, strict=True))
        left = [at for at in streams if at not in done]
        if not left:
            return done
        name = choice.strategy if choice else DENSE
        encoded, seconds = self._timed(self.candidates[name], [streams[at] for at in left])
        if choice:
            self._note(choice, seconds, sum(len(streams[at].pixels) for at in left))
        return done | {at: replace(e, strategy=name) for at, e in zip(left, encoded, strict=True)}

    def _chosen(self, kind: str) -> StrategyChoice | None:
        if self.given and self.choices:
            return self.choices.get(kind) or next(iter(self.choices.values()))
        return self.choices.get(kind)

    def _trial(self, streams: Mapping[int, Chunk]) -> list[int]:
        """Pick the streams to weigh by: not too short, on a CPU no more than is enough."""
        picked: list[int] = []
        frames = 0
        for at, each in streams.items():
            if len(each.pixels) >= LEAST and (self._on_gpu or frames < ENOUGH):
                picked.append(at)
                frames += len(each.pixels)
        return picked

    def _weigh(self, kind: str, streams: Sequence[Chunk]) -> tuple[StrategyChoice, list[Encoded]]:
        """Encode by every candidate; return the choice and its vectors, made exact."""
        warm = [_begun(each) for each in (streams if self._on_gpu else streams[:1])]
        found = {}
        for name, strategy in self.candidates.items():
            strategy.encode(warm)
            found[name] = self._timed(strategy, streams)
        exact, _ = found[DENSE]
        shares = [each.part_of.share if each.part_of else 1.0 for each in streams]
        weighed = [_weighed(name, *each, exact, shares) for name, each in found.items()]
        fastest = self._fastest(weighed)
        choice = self.choices[kind] = StrategyChoice(kind, fastest.strategy, tuple(weighed))
        self._reason(choice)
        logger.info("%s", choice)
        self._save(choice, fastest.seconds * fastest.frames, fastest.frames)
        spent = [torch.stack([e.macs for e in each]).sum(0) for each in _by_stream(found.values())]
        return choice, [
            replace(dense, macs=macs, strategy=fastest.strategy)
            for dense, macs in zip(exact, spent, strict=True)
        ]

    def _note(self, choice: StrategyChoice, seconds: float, frames: int) -> None:
        """Average the time of the strategy that serves, and change it if another is faster."""
        self._save(choice, seconds, frames)
        if self.given or not frames:
            return
        at = next(i for i, w in enumerate(choice.weighed) if w.strategy == choice.strategy)
        before = choice.weighed[at]
        known = min(before.frames, MEMORY)
        mean = (before.seconds * known + seconds) / (known + frames)
        weighed = list(choice.weighed)
        weighed[at] = replace(before, seconds=mean, frames=before.frames + frames)
        fastest = self._fastest(weighed).strategy
        self.choices[choice.kind] = StrategyChoice(choice.kind, fastest, tuple(weighed))
        if fastest != choice.strategy:
            self._reason(self.choices[choice.kind])

    def _reason(self, *choices: StrategyChoice) -> None:
        """Keep what a choice was made by, before it is measured further."""
        for choice in choices:
            self.reasons.setdefault((choice.kind, choice.strategy), str(choice))

    def _fastest(self, weighed: Sequence[Weighed]) -> Weighed:
        """Return the fastest of those that kept the bound; dense always does."""
        bound = self.max_drift
        kept = [w for w in weighed if w.strategy == DENSE or bound is None or w.worst <= bound]
        return min(kept, key=lambda each: each.seconds)

    @property
    def _on_gpu(self) -> bool:
        return self.tower.device.type == "cuda"

    def _save(self, choice: StrategyChoice, seconds: float, frames: int) -> None:
        [dense] = [w for w in choice.weighed if w.strategy == DENSE]
        self.saved += dense.seconds * frames - seconds
        self.served += frames

    def _timed(self, strategy: Strategy, streams: Sequence[Chunk]) -> tuple[list[Encoded], float]:
        started = self.clock()
        encoded = strategy.encode(streams)
        float(encoded[-1].embeddings.sum())  # waits for the device
        return encoded, self.clock() - started


def _begun(chunk: Chunk) -> Chunk:
    """Return the first frames of a stream as one of its own."""
    return Chunk(chunk.pixels[:WARM], None, True, None if chunk.cues is None else chunk.cues[:WARM])


def _weighed(
    name: str,
    encoded: Sequence[Encoded],
    seconds: float,
    exact: Sequence[Encoded],
    shares: Sequence[float],
) -> Weighed:
    drifts = [
        1 - F.cosine_similarity(ours.embeddings.float(), theirs.embeddings.float())
        for ours, theirs in zip(encoded, exact, strict=True)
    ]
    if name == DENSE:  # but for rounding
        drifts = [torch.zeros_like(drift) for drift in drifts]
    frames = sum(len(drift) for drift in drifts)
    dense = sum(float(each.macs.sum()) for each in exact)
    return Weighed(
        strategy=name,
        seconds=seconds / frames,
        macs=sum(float(each.macs.sum()) for each in encoded) / dense,
        drift=max(float(torch.cat(drifts).mean()), 0.0),
        worst=max(float(drift.mean()) / share for drift, share in zip(drifts, shares, strict=True)),
        frames=frames,
    )


def _by_stream(
    found: Iterable[tuple[Sequence[Encoded], float]],
) -> Iterator[tuple[Encoded, ...]]:
    """Turn what each candidate gave for the streams into what each stream was given."""
    return zip(*(encoded for encoded, _ in found), strict=True)
