"""The context of a running search: its store, encoder, options and record of work."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.cage.ending import check_awaited
from engine.search.options import Options
from engine.search.reading import Reading
from engine.search.refiner import Redecode
from engine.search.words import Words
from engine.search.work import Embedded, Work
from engine.storage.store import Store


class QueryEncoder(Protocol):
    """The part of a model that queries need."""

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors `[T, E]`."""

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Unit vectors `[n, E]`."""


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a video, `[start_seconds, stop_seconds)`."""

    video_id: int
    start_seconds: float
    stop_seconds: float


@dataclass(frozen=True, slots=True)
class Background:
    """Texts and pictures of all kinds: what a match by chance scores against."""

    texts: tuple[str, ...]
    images: tuple[NDArray[np.uint8], ...] = ()


@dataclass(frozen=True, slots=True)
class Null:
    """The distribution of centred scores that unrelated texts and frames have."""

    mean_text: NDArray[np.float32]
    mean_frame: NDArray[np.float32]
    middle: float
    width: float


def nothing_said() -> Words:
    """Stand in where there are no transcripts."""
    return Words(())


Embedder = Callable[[Sequence[Range], Options], Embedded]


@dataclass(slots=True, kw_only=True)
class SearchContext:
    """What a running search reaches; `work` gathers what it did."""

    reading: Reading
    encoder: QueryEncoder
    background: Callable[[], Background]  # called only where a match must be calibrated
    embed: Embedder  # decodes and embeds what is missing of the given ranges, and stores it
    spoken: Callable[[], Words] = nothing_said  # what is said in the store's videos, as it is now
    said: tuple[int, Words] | None = None  # the same at the moment of so many renewals
    redecode: Redecode | None = None  # pictures of stored frames; None: nothing decodes
    options: Options = field(default_factory=Options)
    started: float = field(default_factory=monotonic)
    work: Work = field(default_factory=Work)
    vectors: dict[str | bytes, NDArray[np.float32]] = field(default_factory=dict)
    embedding_seconds: float = 0.0  # spent on it so far
    null: Null | None = None
    device: str = "auto"  # on which frames are embedded, as it was asked for
    content: str = "unnamed"  # what `background` shows: a null of other content is measured anew
    caution: str | None = None  # what has to be known before the model is relied on

    def words(self) -> Words:
        """Return what is said in the store's videos: the same until the reading is renewed."""
        if self.said is None or self.said[0] != self.reading.renewals:
            self.said = self.reading.renewals, self.spoken()
        return self.said[1]

    @property
    def store(self) -> Store:
        """The store as it is now; `reading` has it as the statement sees it."""
        return self.reading.store

    @property
    def space(self) -> str:
        """The key of the embedding space."""
        return self.reading.space

    def embed_missing(self, missing: Sequence[Range]) -> None:
        """Decode, embed and store what is missing, within what is left of the budgets."""
        check_awaited()
        started, allowed = monotonic(), self.options.embed_seconds
        left = None if allowed is None else max(0.0, allowed - self.embedding_seconds)
        options = replace(
            self.options,
            budget_seconds=self.seconds_left,
            embed_seconds=left,
            budget_frames=self.frames_left,
        )
        spent = self.frames_left == 0
        done = Embedded(complete=False, budget=True) if spent else self.embed(missing, options)
        self.work.embedded.append(done)
        self.embedding_seconds += monotonic() - started
        self.reading.renew()

    @property
    def frames_left(self) -> int | None:
        """How many frames may still be embedded or made exact, or None without a bound."""
        budget = self.options.budget_frames
        if budget is None:
            return None
        embedded = sum(item.frames for item in self.work.embedded)
        return max(0, budget - embedded - sum(item.rows for item in self.work.refined))

    @property
    def seconds_left(self) -> float | None:
        """What remains of the query's budget, or None without one."""
        budget = self.options.budget_seconds
        return None if budget is None else max(0.0, budget - (monotonic() - self.started))
