"""One answer of many shards: the same moments, in the same order, as of one store of all videos.

Each shard begins the query at one moment of its store. What rests on all frames is made of all of
them: the mean frame, what words weigh, how unrelated texts score. Then each tells its best rows and
the spans that these give, of which the best are merged as one store ranks its own.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import inf
from time import monotonic, perf_counter
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from engine.errors import EngineError, NotFoundError, StoreError, UsageError
from engine.results import Coverage, Moment
from engine.search import average, null, ranking
from engine.search.fusion import Fused, fuse
from engine.sharding.alike import check_alike, check_protocol, covered_by
from engine.sharding.merge import Merged, merge, vectors_of
from engine.sharding.shards import LostShardsError, Shard, Shards
from engine.sharding.wire import packed, unpacked
from schemas.query import QueryRequest
from schemas.shard import (
    BackgroundOut,
    FindRequest,
    FoundOut,
    InquiryOut,
    NullIn,
    SampleOut,
    ShowOut,
    ShowRequest,
    StretchIn,
    WordCountsIn,
)

_MOST_DEEP = 1 << 20  # rows of each shard that are looked at
_KEPT = 64  # means and nulls


@dataclass(frozen=True, slots=True)
class Gathered:
    """Moments of all shards, best first, and what each shard was asked at."""

    moments: list[Moment]
    coverage: Coverage
    plan: str
    timing: dict[str, float]
    caution: str | None
    snapshots: Mapping[Shard, str]
    lost: Mapping[Shard, str]


def gather(shards: Shards, body: QueryRequest, key: str | None) -> Gathered:
    """Ask all shards; those that are lost are left out and named, the rest is asked anew.

    What rests on all frames must not be made of a shard that then gives nothing.
    """
    _check(body)
    lost: dict[Shard, str] = {}
    while True:
        alive = [shard for shard in shards.all if shard not in lost]
        if not alive:
            raise LostShardsError(lost)
        asking = Asking(shards, alive, body, key, lost)
        try:
            return asking.run()
        except LostShardsError as error:
            lost |= error.reasons
        finally:
            asking.end()


def _check(body: QueryRequest) -> None:
    """Refuse what only one process can answer."""
    if body.mode != "retrieval":
        raise UsageError(f"mode {body.mode} is of one shard; allowed over several: retrieval")
    if body.spaces is not None:
        raise UsageError("spaces are asked of one shard; allowed over several: one space")
    if body.where is not None and "video_id" in body.where.lower():
        raise UsageError(
            "where names video_id, which each shard counts for itself; allowed: other columns, and"
            " ids in videos"
        )


@dataclass
class Asking:
    """One attempt to answer a query by some shards."""

    shards: Shards
    alive: Sequence[Shard]
    body: QueryRequest
    key: str | None
    lost: Mapping[Shard, str]
    inquiries: dict[Shard, InquiryOut] = field(default_factory=dict)
    until: float = field(init=False)

    def __post_init__(self) -> None:
        self.until = monotonic() + self.shards.seconds

    def run(self) -> Gathered:
        """Begin, measure what rests on all, look until it is settled, and tell."""
        clock = [perf_counter()]
        self._begin()
        clock.append(perf_counter())
        mean, final = self._mean()
        found_null = self._null()
        clock.append(perf_counter())
        merged = self._find(mean)
        moments, shown = self._show(merged, found_null)
        clock.append(perf_counter())
        spans_edges = bool(merged.spans) and self.body.group_by != "frame"
        moving = spans_edges and (not final or any(each.approximate for each in shown.values()))
        plan = f"best {merged.depth} frames of {len(self.inquiries)} shards, merged and grouped by"
        plan += f" {self.body.group_by}, {merged.num_duplicates} duplicates"
        timing = dict(zip(("select", "measure", "search"), np.diff(clock).tolist(), strict=True))
        return Gathered(
            moments,
            covered_by(shown, self.lost, edges_may_move=moving),
            plan,
            timing,
            self._caution(shown),
            merged.snapshots
            or {shard: inquiry.snapshot for shard, inquiry in self.inquiries.items()},
            self.lost,
        )

    def end(self) -> None:
        """Let the shards forget what is still open; one that does not hear forgets it by itself."""
        open_inquiries, self.inquiries = self.inquiries, {}
        for shard, inquiry in open_inquiries.items():
            self.shards.later(self._forget, shard, inquiry.inquiry)

    def _forget(self, shard: Shard, inquiry: str) -> None:
        with suppress(EngineError, OSError):
            self.shards.calls(shard, self.key, 2.0).json(
                "DELETE", f"/shard/inquiries/{quote(inquiry)}"
            )

    def _each(
        self, call: Callable[[Shard], Any], among: Sequence[Shard] | None = None
    ) -> dict[Shard, Any]:
        return self.shards.each(self.alive if among is None else among, call, self.until)

    def _ask(self, shard: Shard, method: str, step: str, body: Any = None) -> Any:
        path = f"/shard/inquiries/{quote(self.inquiries[shard].inquiry)}/{step}"
        try:
            return self.shards.calls(shard, self.key).json(method, path, body)
        except NotFoundError as error:
            raise StoreError("it was started anew in the middle of the query") from error

    def _begin(self) -> None:
        asked = self.body.model_dump(mode="json", exclude_unset=True)
        if self.body.image is not None:
            from base64 import b64encode  # pydantic tells bytes as text

            asked["image"] = b64encode(self.body.image).decode()

        def begin(shard: Shard) -> InquiryOut:
            told = {**asked, "videos": self._videos_of(shard)}
            try:
                found = self.shards.calls(shard, self.key).json("POST", "/shard/inquiries", told)
            except NotFoundError as error:
                if "none of this API's endpoints" in str(error):
                    raise StoreError("its version cannot be asked as a shard") from error
                raise
            check_protocol(found["facts"])
            inquiry = InquiryOut.model_validate(found)
            self.inquiries[shard] = inquiry
            return inquiry

        self.inquiries = self._each(begin)  # in the order of the shards
        check_alike({shard: inquiry.facts for shard, inquiry in self.inquiries.items()})
        self._check_videos()

    def _videos_of(self, shard: Shard) -> list[int | str] | None:
        """Return what of the videos asked for a shard may have, as it calls them."""
        if self.body.videos is None:
            return None
        wanted: list[int | str] = []
        for item in self.body.videos:
            owner, own = self._owner_of(item)
            if owner is None or owner == shard:
                wanted.append(own)
        return wanted

    def _owner_of(self, item: int | str) -> tuple[Shard | None, int | str]:
        """Return the only shard that may have a video, and what it calls it."""
        if isinstance(item, int):
            return self.shards.of_video(item)
        name, mark, rest = item.partition(":")
        owner = next((each for each in self.shards.all if mark and each.name == name), None)
        return owner, item if owner is None else rest

    def _check_videos(self) -> None:
        """Raise NotFoundError for what no shard has; where one is lost that has it, it is named."""
        for item in self.body.videos or ():
            owner, own = self._owner_of(item)
            asked = [owner] if owner is not None else list(self.shards.all)
            if all(
                each in self.inquiries and own in self.inquiries[each].unmatched for each in asked
            ):
                said = f"in shard {owner.name}" if owner else "in any shard"
                raise NotFoundError(f"no video {own!r} {said}")

    def _state(self) -> tuple[Any, ...]:
        """Return what the shards hold, by which measurements are kept."""
        return tuple((shard, inquiry.snapshot) for shard, inquiry in self.inquiries.items())

    @property
    def _num_rows(self) -> int:
        return sum(inquiry.rows for inquiry in self.inquiries.values())

    def _sample(self, most: int) -> tuple[NDArray[np.float32], bool]:
        """Return rows of all shards so many apart, as one store of all would sample its own."""
        step, before = max(1, self._num_rows // most), 0
        firsts: dict[Shard, int] = {}
        for shard in self.alive:
            if (first := -before % step) < self.inquiries[shard].rows:
                firsts[shard] = first
            before += self.inquiries[shard].rows

        def sample(shard: Shard) -> SampleOut:
            path = f"sample?first={firsts[shard]}&step={step}"
            return SampleOut.model_validate(self._ask(shard, "GET", path))

        told = self._each(sample, list(firsts))
        counts = {
            shard: -(-(self.inquiries[shard].rows - firsts[shard]) // step) for shard in firsts
        }
        vectors = [vectors_of(told[shard].vectors, counts[shard]) for shard in firsts]
        return np.concatenate(vectors), all(each.exact for each in told.values())

    def _mean(self) -> tuple[NDArray[np.float32] | None, bool]:
        """Return the mean frame of all shards, where edges rest on it, and whether it is final."""
        by_mean = self.body.group_by != "frame" and self.body.min_score is None
        if not by_mean or not self._num_rows or not self._first.by_image:
            return None, True
        told = self._state(), self.body.options.exact is True
        if told not in self.shards.means:
            vectors, exact = self._sample(average.SAMPLE)
            _keep(self.shards.means, told, (vectors.mean(0), exact))
        mean, final = self.shards.means[told]
        return mean, final

    @property
    def _first(self) -> InquiryOut:
        return self.inquiries[self.alive[0]]

    def _null(self) -> NullIn | None:
        """Return how unrelated texts score, kept until there are many more rows than it was of."""
        if not all(inquiry.calibrated for inquiry in self.inquiries.values()) or self._num_rows < 2:
            return None
        told = tuple((shard, inquiry.facts.identity) for shard, inquiry in self.inquiries.items())
        kept = self.shards.nulls.get(told)
        if kept is None or self._num_rows > null.GROWTH * max(kept[0], 64):
            vectors, _ = self._sample(null.SAMPLE)
            [shown] = self._each(self._background, self.alive[:1]).values()
            dimension = vectors.shape[1]
            images = unpacked(shown.images, dimension)
            made = null.null_of(np.concatenate([vectors, images]), unpacked(shown.texts, dimension))
            kept = (
                self._num_rows,
                NullIn(
                    mean_text=packed(made.mean_text),
                    mean_frame=packed(made.mean_frame),
                    middle=made.middle,
                    width=made.width,
                ),
            )
            _keep(self.shards.nulls, told, kept)
        found: NullIn = kept[1]
        return found

    def _background(self, shard: Shard) -> BackgroundOut:
        return BackgroundOut.model_validate(self._ask(shard, "GET", "background"))

    def _find(self, mean: NDArray[np.float32] | None) -> Merged:
        """Look deeper, and have made exact what is not, until nothing left out could change it."""
        body, depth, bar = self.body, ranking.DEPTH * self.body.top_k, None
        words = _all_words([inquiry.words for inquiry in self.inquiries.values()])
        most = body.top_k
        if body.group_by == "video":
            most = min(most, sum(inquiry.selected for inquiry in self.inquiries.values()))
        while True:
            request = FindRequest(
                depth=depth, mean=None if mean is None else packed(mean), words=words, bar=bar
            ).model_dump(mode="json")

            def find(shard: Shard, request: Any = request) -> FoundOut:
                return FoundOut.model_validate(self._ask(shard, "POST", "find", request))

            found = self._each(find)
            merged = merge(found, depth, body, self._near_duplicate)
            short = len(merged.spans) < most
            reached = -inf if short else merged.spans[most - 1].span.score
            if merged.may_miss(short, reached) and depth < _MOST_DEEP:
                depth, bar = min(depth * ranking.DEEPER, _MOST_DEEP), None
                continue
            approximate = any(each.largest_error > 0 for each in found.values())
            settled = bar is not None and not any(each.refined for each in found.values())
            if settled or not (approximate or body.options.exact is True):
                return merged
            bar = max(reached, -2.0)  # no cosine is less, and JSON has no infinity

    @property
    def _near_duplicate(self) -> float:
        return float(self._first.facts.rules["near_duplicate"])

    def _show(
        self, merged: Merged, found_null: NullIn | None
    ) -> tuple[list[Moment], dict[Shard, ShowOut]]:
        by_video = self.body.group_by == "video"
        fused = fuse(merged.spans, merged.spoken, self.body.top_k, by_video=by_video)
        asked: dict[Shard, tuple[list[StretchIn], list[StretchIn]]] = {
            shard: ([], []) for shard in self.alive
        }
        for item in fused:
            if item.image is not None:
                span = merged.spans[item.image]
                where = span.video_id, span.span.start_seconds, span.span.stop_seconds
            else:
                assert item.words is not None
                where = item.words.video_id, item.words.start_seconds, item.words.stop_seconds
            shard, own = self.shards.of_video(where[0])
            stretch = StretchIn(video_id=own, start_seconds=where[1], stop_seconds=where[2])
            asked[shard][item.image is None].append(stretch)

        def show(shard: Shard) -> ShowOut:
            spans, spoken = asked[shard]
            told = ShowRequest(spans=spans, spoken=spoken, null=found_null)
            return ShowOut.model_validate(self._ask(shard, "POST", "show", told.model_dump()))

        shown = self._each(show)
        self.inquiries = {}  # all have ended
        clear = {shard: iter(each.clear) for shard, each in shown.items()}
        best = {shard: iter(each.best) for shard, each in shown.items()}
        moments = [self._moment(item, merged, shown, clear, best) for item in fused]
        return moments, shown

    def _moment(
        self,
        item: Fused,
        merged: Merged,
        shown: Mapping[Shard, ShowOut],
        clear: Mapping[Shard, Any],
        best: Mapping[Shard, Any],
    ) -> Moment:
        words = item.words
        if item.image is None:
            assert words is not None
            shard, own = self.shards.of_video(words.video_id)
            peak, score = next(best[shard])
            where = words.video_id, shown[shard].names[own], words.start_seconds, words.stop_seconds
            return Moment(*where, peak, score, None, ("words",), words.line, words.score)
        span = merged.spans[item.image]
        shard, own = self.shards.of_video(span.video_id)
        times = span.span.start_seconds, span.span.stop_seconds, span.span.peak_seconds
        found = Moment(
            *(span.video_id, shown[shard].names[own]), *times, span.span.score, next(clear[shard])
        )
        if words is None:
            return found
        return replace(found, signals=("image", "words"), line=words.line, words=words.score)

    def _caution(self, shown: Mapping[Shard, ShowOut]) -> str | None:
        said = [each.caution for each in shown.values() if each.caution]
        if self.lost:
            whose = "; ".join(f"{shard.name}: {why}" for shard, why in self.lost.items())
            count = f"{len(self.lost)} of {len(self.shards.all)} shards gave no answer"
            said.insert(0, f"{count}, what they hold was not looked at: {whose}")
        return "; ".join(dict.fromkeys(said)) or None


def _keep(kept: dict[Any, Any], told: Any, value: Any) -> None:
    if len(kept) >= _KEPT:
        kept.clear()
    kept[told] = value


def _all_words(counts: Sequence[WordCountsIn | None]) -> WordCountsIn | None:
    known = [each for each in counts if each is not None]
    if not known:
        return None
    return WordCountsIn(
        num_lines=sum(each.num_lines for each in known),
        num_words=sum(each.num_words for each in known),
        held=[sum(held) for held in zip(*(each.held for each in known), strict=True)],
    )
