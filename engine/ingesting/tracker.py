"""What has become of each video so far: said to whoever listens, and put on record at its end."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from threading import Lock
from time import perf_counter
from typing import Any

from engine.errors import UnreachedError, VideoError
from engine.ingesting.encode import Done
from engine.ingesting.plan import Source, Stretch
from engine.ingesting.pool import Failed
from engine.ingesting.prepare import Decoded
from engine.ingesting.report import (
    Event,
    IngestOptions,
    IngestReport,
    Missing,
    NodeReport,
    Progress,
    Stage,
    VideoReport,
)
from engine.knowledge import caution
from engine.search.work import Embedded
from engine.storage.records import VideoEnd, WholeVideo
from engine.storage.store import Store, WrittenPart
from engine.vision.model import Model

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class TrackedVideo:
    """One video while it is ingested."""

    source: Source
    report: VideoReport
    left: set[Stretch]  # not yet committed, nor given up
    whole: bool  # False: only parts of the video were asked for
    fresh: bool = False  # all that is stored of it was stored by this run
    given: set[Stretch] = field(default_factory=set)  # came from the decoder
    drifts: list[float] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Tracker:
    """The entries of one run; its methods may be called from any thread."""

    store: Store
    space_key: str
    options: IngestOptions
    progress: Progress | None = None
    reports: list[VideoReport] = field(default_factory=list)
    expected: int = 0  # sampled frames of all videos, an estimate until all are open
    gops: int = 0  # decoded
    full: int = 0
    tokens: int = 0
    tokens_reused: int = 0
    nodes: Mapping[str, NodeReport] = field(default_factory=dict)  # of a cluster
    _entries: dict[int, TrackedVideo] = field(default_factory=dict)
    _frames: dict[Stage, int] = field(default_factory=dict)
    _started: float = field(default_factory=perf_counter)
    _lock: Lock = field(default_factory=Lock)

    def open(
        self,
        source: Source,
        report: VideoReport,
        stretches: Sequence[Stretch],
        *,
        whole: bool = True,
        fresh: bool = False,
    ) -> None:
        """Take up a video of which these stretches are to be done."""
        entry = TrackedVideo(source, report, set(stretches), whole, fresh)
        report.fps = source.fps
        with self._lock:
            self._entries[source.video_id] = entry
            self.expected += sum(source.frames(part) for part in stretches)
        if not stretches:
            self.finish(entry)

    def decoded(self, event: Decoded) -> None:
        """Count a stretch that was decoded."""
        entry, stretch = self._entry(event.task.source), event.stretch
        entry.given.add(stretch)
        report = entry.report
        report.pictures += event.pictures
        report.decoder = event.decoder
        report.gate = event.gate.said if event.gate else None
        report.carried += sum(frame.carried for frame in event.frames)
        report.decode_seconds += event.decode_seconds
        report.missing += event.missing
        self.gops += len(entry.source.between(stretch.start_seconds, stretch.stop_seconds))
        self._tell("decode", report, len(event.frames))

    def encoded(self, done: Done) -> None:
        """Count a stretch that was encoded."""
        entry, frames = self._entry(done.source), len(done.rows.frame)
        report, total = entry.report, entry.report.frames + frames
        if total:
            share = float(done.rows.reuse_rate.sum())
            report.reuse_rate = (report.reuse_rate * report.frames + share) / total
        entry.drifts += done.rows.drift[done.rows.drift == done.rows.drift].tolist()
        report.drift = sum(entry.drifts) / len(entry.drifts) if entry.drifts else None
        report.frames, report.strategy, report.choice = total, done.strategy, done.choice
        report.macs += done.macs
        report.macs_dense += done.macs_dense
        report.encode_seconds += done.seconds
        self.full += done.full
        self.tokens += done.tokens
        self.tokens_reused += done.tokens_reused
        self._tell("encode", report, frames)

    def commit(self, done: Done) -> None:
        """Put a stretch on record, durably, and finish its video if it was the last one."""
        source, stretch = done.source, done.stretch
        entry, started = self._entry(source), perf_counter()
        if (only := self._is_all(entry, done)) and not self._unchanged(entry):
            self._give_up(entry)
            return
        ended = False
        if isinstance(done.rows, WrittenPart):
            self.store.take_part(done.rows, self.space_key)
        else:
            ended = self.store.write_part(
                source.video_id,
                self.space_key,
                source.sampling,
                done.strategy,
                *source.stored_as(stretch),
                done.rows,
                (lambda: self._ending(entry, started)) if only else None,
            )
        if not ended:
            entry.report.write_seconds += perf_counter() - started
        self._tell("write", entry.report, len(done.rows.frame))
        if ended:
            self._give_up(entry)
            return
        self._settle(entry, [stretch])

    def _is_all(self, entry: TrackedVideo, done: Done) -> bool:
        """Whether a stretch is all that there is of a new video, so that it is at its end."""
        rows, whole = len(done.rows.frame), entry.fresh and entry.whole
        with self._lock:
            last = entry.left == {done.stretch}
        return whole and last and not done.source.coarse and 0 < rows == entry.report.frames

    def _ending(self, entry: TrackedVideo, started: float) -> WholeVideo:
        """Say that a video is whole, once the file of its only stretch is there."""
        report = entry.report
        report.write_seconds += perf_counter() - started
        report.rows, report.outcome = report.frames, "ready"
        end = VideoEnd("ready", _spoken(report.missing), asdict(report))
        return WholeVideo(report.rows, end)

    def _give_up(self, entry: TrackedVideo) -> None:
        """Expect nothing more of a video that is at its end."""
        with self._lock:
            entry.left.clear()

    def fail(self, failed: Failed) -> None:
        """Give up the stretches of a task that did not come."""
        entry = self._entry(failed.task.source)
        lost = [part for part in failed.task.stretches if part not in entry.given]
        for part in lost:
            missing = Missing(part.start_seconds, part.stop_seconds, str(failed.error))
            entry.report.missing.append(missing)
        self._settle(entry, lost)

    def finish(self, entry: TrackedVideo) -> None:
        """Put a video's end on record: all rows there, or nothing that can be used."""
        source, report, catalog = entry.source, entry.report, self.store.catalog
        if not self._unchanged(entry):
            return
        strategy = report.strategy or self._unfinished(source)
        if source.coarse:
            self._finish_coarsely(entry)
            return
        report.rows = report.frames
        if not entry.fresh:  # else all rows that there are were made just now
            report.rows = self.store.embedded_frames(
                source.video_id,
                self.space_key,
                source.sampling,
                None if self.options.strategy == "auto" else strategy,
            )
        report.outcome = "ready" if strategy else "known"
        if not entry.whole:
            return
        if not report.rows:
            before = catalog.video(source.video_id).report or {}
            reasons = [gap.reason for gap in report.missing]
            report.outcome = "quarantined"
            report.reason = next(iter(reasons), before.get("reason")) or "nothing to sample"
            end = VideoEnd("quarantined", report.reason, asdict(report))
        else:
            end = VideoEnd("ready", _spoken(report.missing), asdict(report))
        if strategy:
            self.store.finish_segment(
                source.video_id, self.space_key, source.sampling, strategy, report.rows, end
            )
        elif not report.rows:
            catalog.set_status(source.video_id, end.status, end.error, end.report)
        logger.debug("%s: %d rows", source.name, report.rows)

    def _unchanged(self, entry: TrackedVideo) -> bool:
        """Whether a file is still what was decoded; else it is put on record with the reason."""
        source, report, catalog = entry.source, entry.report, self.store.catalog
        try:
            source.check_unchanged()
        except UnreachedError as error:  # its rows stay; the next ingest looks again
            report.outcome, report.reason = "quarantined", str(error)
            return False
        except VideoError as error:
            catalog.remove_video(source.video_id)
            catalog.quarantine(source.name, str(source.path), str(error))
            report.outcome, report.reason, report.rows = "quarantined", str(error), 0
            return False
        return True

    def _finish_coarsely(self, entry: TrackedVideo) -> None:
        """Say that a video can be searched, coarsely, or that nothing of it can be used."""
        source, report, catalog = entry.source, entry.report, self.store.catalog
        [known] = self.store.completeness(self.space_key, [source.video_id])
        report.rows = known.embedded
        report.outcome = "ready" if report.frames else "known"
        if not report.rows:
            report.outcome = "quarantined"
            report.reason = next((gap.reason for gap in report.missing), "nothing to sample")
            catalog.set_status(source.video_id, "quarantined", report.reason, asdict(report))
        elif report.frames:
            catalog.set_status(source.video_id, "ready", _spoken(report.missing), asdict(report))

    def _settle(self, entry: TrackedVideo, stretches: Sequence[Stretch]) -> None:
        with self._lock:
            before = len(entry.left)
            entry.left.difference_update(stretches)
            complete = before and not entry.left
        if complete:
            self.finish(entry)

    def _unfinished(self, source: Source) -> str | None:
        """Return the strategy of rows that only lack the word that they are all there."""
        own = [
            segment
            for segment in self.store.catalog.segments(source.video_id, self.space_key)
            if segment.sampling == source.sampling
        ]
        finished = any(segment.num_frames is not None for segment in own)
        return own[0].strategy if own and not finished else None

    def report(
        self, model: Model, choice: str, choices: list[dict[str, Any]], *, complete: bool
    ) -> IngestReport:
        """Return what this run did, as an ingest tells it; `choices` are those of `auto`."""
        options = self.options
        return IngestReport(
            videos=self.reports,
            seconds=perf_counter() - self._started,
            device=self._device(model),
            decoder="; ".join(sorted({v.decoder for v in self.reports if v.decoder})) or "none",
            strategy=", ".join(sorted({v.strategy for v in self.reports if v.strategy})) or None,
            choice=choice,
            choices=choices,
            interrupted=not complete,
            max_drift=options.max_drift,
            coverage=options.coverage,
            caution=caution(model.space.model),
            nodes=list(self.nodes.values()),
        )

    def _device(self, model: Model) -> str:
        if self.nodes:
            return f"{sum(node.reason is None for node in self.nodes.values())} nodes"
        return ", ".join(self.options.devices) or str(model.device)

    def embedded(self, saved_seconds: float | None, *, choice: str, budget: bool) -> Embedded:
        """Return what this run did, as a query tells it; `budget`: one ended before it was done."""
        sums = [report for report in self.reports if report.frames]
        frames = sum(report.frames for report in sums)
        whole = all(report.outcome in ("ready", "known") for report in self.reports)
        return Embedded(
            videos=len(sums),
            gops=self.gops,
            frames=frames,
            full=self.full,
            reused=frames - self.full,
            tokens=self.tokens,
            tokens_reused=self.tokens_reused,
            macs=sum(report.macs for report in sums),
            macs_dense=sum(report.macs_dense for report in sums),
            decode_seconds=sum(report.decode_seconds for report in sums),
            encode_seconds=sum(report.encode_seconds for report in sums),
            saved_seconds=None if saved_seconds is None else saved_seconds * frames,
            complete=whole and not budget,
            choice=choice if frames else "",
            budget=budget,
            unread={
                report.video_id: report.reason
                for report in self.reports
                if report.video_id is not None and report.reason
            },
        )

    def _entry(self, source: Source) -> TrackedVideo:
        return self._entries[source.video_id]

    def _tell(self, stage: Stage, report: VideoReport, frames: int) -> None:
        with self._lock:
            done = self._frames[stage] = self._frames.get(stage, 0) + frames
            if self.progress is None:
                return
            rate = done / max(perf_counter() - self._started, 1e-9)
            left = max(self.expected - done, 0)
            self.progress.report(
                Event(
                    stage=stage,
                    video=report.name,
                    frames=done,
                    expected=max(self.expected, done),
                    frames_per_second=rate,
                    reuse_rate=self.tokens_reused / self.tokens if self.tokens else None,
                    eta_seconds=left / rate if rate else None,
                    nodes=tuple((n.name, n.frames_per_second) for n in list(self.nodes.values())),
                )
            )


def _spoken(missing: Sequence[Missing]) -> str | None:
    """Say in one line what could not be used, or None."""
    if not missing:
        return None
    gaps = sorted(missing, key=lambda gap: gap.start_seconds)
    spans = ", ".join(f"{gap.start_seconds:.2f}–{gap.stop_seconds:.2f} s" for gap in gaps[:5])
    more = f" and {len(gaps) - 5} more" if len(gaps) > 5 else ""
    return f"missing {spans}{more}: {gaps[0].reason}"
