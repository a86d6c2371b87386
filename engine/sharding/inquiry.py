"""A query as one shard answers it: at one moment of its store, step by step, for who merges."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.results import GroupBy
from engine.search.clear import are_clear
from engine.search.context import Null, SearchContext
from engine.search.deepen import deepen
from engine.search.fusion import SpokenPart, spoken_moments
from engine.search.grouping import Grouping, VideoSpan
from engine.search.moments import Span
from engine.search.nearest import refiner_of
from engine.search.null import has_null
from engine.search.ordered import best_in_order
from engine.search.refiner import Refiner
from engine.search.report import best_frame, coverage_of
from engine.search.selection import Selection, select_frames, select_names
from engine.search.words import WordCounts
from engine.search.work import Refined
from engine.storage.snapshot import Hits
from engine.storage.view import View

NEVER = 2.0  # no cosine is as large: no picture counts as shown twice


@dataclass(frozen=True, slots=True)
class QuerySought:
    """What a query looks for, and by what."""

    subject: str | bytes | NDArray[np.float32]
    top_k: int
    group_by: GroupBy
    min_score: float | None
    by_image: bool
    by_words: bool


@dataclass(frozen=True, slots=True)
class InquiryFound:
    """What an inquiry holds so deep: its best rows, and the spans of which one is the peak."""

    hits: Hits
    spans: list[VideoSpan]
    vectors: NDArray[np.float32]  # of the spans' best frames
    spoken: list[SpokenPart]
    largest_error: float
    refined: bool


@dataclass(frozen=True, slots=True)
class InquiryShown:
    """What is told of what is shown."""

    names: dict[int, str]
    clear: list[bool | None]
    best: list[tuple[float, float]]  # of each spoken part, when it fits best and how well
    approximate: bool


@dataclass
class Inquiry:
    """A query on one shard; the moment that it began with is kept until it has ended."""

    context: SearchContext
    sought: QuerySought
    vector: NDArray[np.float32] | None  # None: words alone are looked for
    selection: Selection
    unmatched: list[int | str]
    refiner: Refiner | None = field(init=False, default=None)
    _grouped: tuple[View, float, Grouping] | None = field(init=False, default=None)

    @classmethod
    def begin(
        cls,
        context: SearchContext,
        sought: QuerySought,
        vector: NDArray[np.float32] | None,
        videos: NDArray[np.int64] | None,
        unmatched: list[int | str],
    ) -> "Inquiry":
        """Choose the frames, embedding what is missing of them as any query does."""
        if vector is None:
            ids = videos
            names = context.reading.view.names if ids is None else select_names(context.store, ids)
            selection = Selection(names, 0, None, whole=ids is None)
        else:
            selection = select_frames(context, videos)
            if deepen(context, vector, selection.listed, sought.top_k):
                selection = select_frames(context, videos)
        inquiry = cls(context, sought, vector, selection, unmatched)
        if vector is not None and selection.count:
            inquiry.refiner = refiner_of(context)
        return inquiry

    @property
    def rows(self) -> int:
        """How many rows the space has at this moment."""
        return len(self.context.reading.view.frames)

    @property
    def snapshot(self) -> str:
        """Name the moment by its rows: the same after a restart, another once one has changed."""
        return name_of(self.context.reading.view)

    @property
    def calibrated(self) -> bool:
        """Whether a match can be told from chance."""
        is_text = isinstance(self.sought.subject, str) and self.sought.by_image
        return is_text and has_null(self.context)

    @cached_property
    def counts(self) -> WordCounts | None:
        """What the words are weighed by here; None where words are not looked for."""
        if not self.sought.by_words or not isinstance(self.sought.subject, str):
            return None
        return self.context.words().count(self.sought.subject)

    def sample(self, first: int, step: int) -> tuple[NDArray[np.float32], bool]:
        """Return the vectors of every so many rows, and whether all are exact."""
        frames = self.context.reading.view.frames
        places = np.arange(first, len(frames), step)
        ids = frames.row_ids[places]
        if self.refiner is not None and self.context.options.exact is True:
            self.refiner.refine_all(ids)
        exact = bool(self.context.reading.view.frames.exact[places].all())
        return self.context.reading.rows.vectors(ids), exact

    def background(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the vectors of background texts and pictures."""
        shown, encoder = self.context.background(), self.context.encoder
        texts = encoder.embed_texts(shown.texts)
        if not shown.images:
            return texts, np.empty((0, texts.shape[1]), np.float32)
        return texts, encoder.embed_images(shown.images)

    def find(
        self,
        depth: int,
        mean: NDArray[np.float32] | None,
        counts: WordCounts | None,
        bar: float | None,
    ) -> InquiryFound:
        """Rank what the best `depth` rows give; make exact what could reach a bar, if one is set.

        `mean` is the mean frame of all shards. No picture is left out for being shown twice: that
        is decided where all are merged.
        """
        spoken = self._spoken(counts)
        if self.vector is None or not self.selection.count:
            none = Hits(np.empty(0, np.int64), np.empty(0, np.float32), "nothing to search")
            return InquiryFound(none, [], np.empty((0, 0), np.float32), spoken, 0.0, refined=False)
        vector, rows = self.vector, self.context.reading.rows
        average = 0.0 if mean is None else float(mean.astype(np.float64) @ vector)
        refined, exact = False, self.context.options.exact is True
        while True:
            grouping, rows = self._grouping(average), self.context.reading.rows
            hits = best_in_order(rows, vector, depth, self.selection.places, exact=exact)
            spans = grouping.group(hits)
            if bar is None or not self._refine(grouping, bar, spans):
                break
            refined = True
        self.context.work.note_search(hits)
        peaks = np.asarray([item.row_id for item in spans], np.int64)
        error = 0.0 if self.refiner is None else self.refiner.largest_error(vector)
        vectors = self.context.reading.rows.vectors(peaks)
        return InquiryFound(hits, spans, vectors, spoken, error, refined=refined)

    def show(
        self, spans: Sequence[VideoSpan], spoken: Sequence[SpokenPart], null: Null | None
    ) -> InquiryShown:
        """Return what is told of what is shown of this shard."""
        context, names = self.context, self.selection.names
        context.null = null
        subject = self.sought.subject if null is not None else self.vector
        clear = [] if subject is None else are_clear(context, subject, spans)
        best = [
            (said.start_seconds, 0.0)
            if self.vector is None
            else best_frame(context, self.vector, said)
            for said in spoken
        ]
        if self.refiner is not None and (refined := self.refiner.report()) != Refined():
            context.work.refined.append(refined)
        videos = sorted({item.video_id for item in spans})
        shown = {*videos, *(said.video_id for said in spoken)}
        return InquiryShown(
            {video: names[video] for video in sorted(shown)}, clear, best, not self._exact(videos)
        )

    def coverage(self, *, edges_may_move: bool) -> dict[str, object]:
        """Return what this inquiry rests on, as JSON has it."""
        if self.vector is None:
            covered = {"videos": len(self.selection.names), "frames": 0, "embedded": 0}
            return {**covered, "refined": 0, "complete": True}
        found = coverage_of(self.context, self.selection, edges_may_move=edges_may_move)
        return {name: getattr(found, name) for name in found.__dataclass_fields__}

    def _exact(self, videos: Sequence[int]) -> bool:
        frames = self.context.reading.view.frames
        places = frames.of_videos(videos)
        return frames.all_exact or bool(
            (frames.exact if places is None else frames.exact[places]).all()
        )

    def _spoken(self, counts: WordCounts | None) -> list[SpokenPart]:
        if counts is None or not isinstance(self.sought.subject, str):
            return []
        names = None if self.selection.whole else self.selection.names
        by_video = self.sought.group_by == "video"
        found = self.context.words(), self.sought.subject, names, self.sought.top_k
        spoken = spoken_moments(*found, by_video=by_video, counts=counts)
        return [said for said in spoken if said.video_id in self.selection.names]

    def _refine(self, grouping: Grouping, bar: float, spans: Sequence[VideoSpan]) -> bool:
        """Make rows exact on which spans that reach the bar rest, some at a time; False if none."""
        if self.refiner is None:
            return False
        if self.refiner.refine_first(grouping.undecided_rows(bar)):
            return True
        if self.context.options.exact is not True or self.sought.group_by == "frame":
            return False
        frames = self.context.reading.view.frames
        places = frames.of_videos([item.video_id for item in spans if item.span.score >= bar])
        edges = frames.row_ids if places is None else frames.row_ids[places]
        return bool(len(edges)) and self.refiner.refine_all(edges)

    def _grouping(self, average: float) -> Grouping:
        """Return what groups hits; it is kept while nothing but the depth changes."""
        view = self.context.reading.view
        if self._grouped is None or self._grouped[0] is not view or self._grouped[1] != average:
            assert self.vector is not None
            made = Grouping(
                self.context,
                self.vector,
                self.sought.group_by,
                min_score=self.sought.min_score,
                average=average if self.sought.min_score is None else self.sought.min_score,
                near_duplicate=NEVER,
                refiner=self.refiner,
            )
            self._grouped = self.context.reading.view, average, made
        return self._grouped[2]


def name_of(view: View) -> str:
    """Return a short name of the rows that a moment has; found once for each."""
    told = ("name", view.frames.fixed.tobytes())
    [number] = view.remembered(told, lambda: np.frombuffer(_digest(view), "<i8")).tolist()
    return int(number).to_bytes(8, "little", signed=True).hex()


def _digest(view: View) -> bytes:
    known = view.frames.known.select(["row_id", "seconds", "strategy", "drift"])
    summed = hashlib.blake2b(view.frames.exact.tobytes(), digest_size=8)
    for column in known.columns:
        for chunk in column.chunks:
            plain = chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk
            summed.update(repr((plain.type, len(plain), plain.offset)).encode())
            for buffer in plain.buffers():
                summed.update(b"" if buffer is None else memoryview(buffer))
    summed.update("\n".join(view.names.values()).encode())
    return summed.digest()


def span_of(video_id: int, start_seconds: float, stop_seconds: float) -> VideoSpan:
    """Return a span of which nothing but where it lies is asked."""
    return VideoSpan(video_id, Span(start_seconds, stop_seconds, start_seconds, 0.0, 0), 0)
