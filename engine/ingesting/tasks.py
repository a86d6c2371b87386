"""What is to be decoded: for files that are ingested, for parts that a query needs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import ceil
from time import perf_counter

from engine.errors import SourceChangedError, VideoError
from engine.ingesting.discover import Found, discover
from engine.ingesting.frame_budget import FrameBudget
from engine.ingesting.identify import (
    committed,
    identify,
    names_for,
    shortfall,
    stored_gops,
    stored_rate,
)
from engine.ingesting.plan import Source, Stretch, Task, cut, cut_coarsely, tasks_for, uncovered
from engine.ingesting.report import IngestOptions, IngestReport, VideoReport
from engine.ingesting.tracker import Tracker
from engine.ingesting.transcribe import take_in, told
from engine.objects.address import Address, Place, place_of
from engine.search.context import Range
from engine.storage.records import CellValue
from engine.storage.store import Store
from engine.video.container import content_hash, file_stamp
from engine.video.subtitles.beside import Folders

_TINY = 48  # frames


def plan_files(tracker: Tracker, files: Sequence[Found]) -> Iterator[Task]:
    """Identify files one after the other and yield what is not stored of each.

    Rows that are finer than asked for are kept, and a video that lacks some goes on at their rate,
    unless they are to be replaced.
    """
    store, options = tracker.store, tracker.options
    entered, folders = set[int](), Folders()
    for found, name in zip(files, names_for(store, files), strict=True):
        report = VideoReport(name, found.address, "interrupted")
        tracker.reports.append(report)
        try:
            known = identify(
                store, found, name, options.recorded_pattern, options.columns, "ingesting"
            )
        except VideoError as error:
            report.outcome, report.reason = "quarantined", str(error)
            continue
        report.video_id = known.video_id
        said = take_in(store, known.video_id, found.path, folders, fresh=known.fresh)
        report.transcript = told(said)
        if known.video_id in entered:
            report.outcome = "known"  # the same content as a file before it
            continue
        entered.add(known.video_id)
        fresh = known.fresh
        stored = None if fresh else stored_rate(store, known.video_id, tracker.space_key)
        fps = options.fps if options.replace else max(stored or 0.0, options.fps)
        report.note = _said(stored, fps, options.fps)
        source = Source(found.path, known.stamp, known.video_id, name, known.gops, fps)
        if options.coverage == "keys":
            yield from _coarsely(tracker, source, report)
            continue
        if fresh:
            todo = cut(source.gops, source.fps)
        else:
            todo = lacking(store, source, tracker.space_key, options.strategy)
        if todo:
            gap = shortfall(known.info, source.gops)
            report.missing += [gap] if gap else []
            if not fresh:
                store.catalog.set_status(source.video_id, "ingesting")
        source = _audited(source, todo, options)
        tracker.open(source, report, todo, fresh=fresh)
        yield from tasks_for(source, todo)


@dataclass(frozen=True, slots=True)
class Plan:
    """The tasks of an ingest, planned as they are taken."""

    tasks: Iterator[Task]
    few: bool  # all together they have fewer frames than `auto` weighs strategies for
    tiny: bool  # and so few that starting a process for them takes longer than they do

    @classmethod
    def ahead(cls, tasks: Iterator[Task], options: IngestOptions) -> "Plan":
        """Plan as far ahead as it takes to know whether the frames are few."""
        weighs = options.strategy == "auto"
        enough = max(options.weigh_from if weighs else 0, _TINY if options.apart else 0)
        seen: list[Task] = []
        frames = 0
        while frames < enough:
            if (task := next(tasks, None)) is None:
                return cls(iter(seen), weighs and frames < options.weigh_from, frames < _TINY)
            seen.append(task)
            frames += sum(task.source.frames(part) for part in task.stretches)
        return cls(chain(seen, tasks), few=False, tiny=False)


def register(
    store: Store,
    paths: Sequence[str | Place | Found],
    recorded_pattern: str | None = None,
    columns: Mapping[str, CellValue] | None = None,
) -> IngestReport:
    """Put videos on record without embedding them; queries embed what they need of them."""
    started, reports, folders = perf_counter(), list[VideoReport](), Folders()
    files = discover(paths)
    for found, name in zip(files, names_for(store, files), strict=True):
        report = VideoReport(name, found.address, "known")
        reports.append(report)
        try:
            known = identify(store, found, name, recorded_pattern, columns or {})
            report.video_id = known.video_id
            said = take_in(store, known.video_id, found.path, folders, fresh=known.fresh)
            report.transcript = told(said)
        except VideoError as error:
            report.outcome, report.reason = "quarantined", str(error)
    return IngestReport(reports, perf_counter() - started)


def plan_ranges(tracker: Tracker, ranges: Sequence[Range], budget: FrameBudget) -> Iterator[Task]:
    """Yield what is not stored of the groups of pictures that ranges touch, within a budget."""
    store, options = tracker.store, tracker.options
    for video_id in dict.fromkeys(part.video_id for part in ranges):
        wanted = [part for part in ranges if part.video_id == video_id]
        report = VideoReport(store.catalog.video(video_id).name, "", "interrupted", video_id)
        tracker.reports.append(report)
        try:
            rate = stored_rate(store, video_id, tracker.space_key)
            source = stored_source(store, video_id, rate or options.fps)
        except VideoError as error:
            report.outcome, report.reason = "quarantined", str(error)
            continue
        report.path = str(source.path)
        done = committed(store, source, tracker.space_key, "auto")
        todo = [
            stretch
            for part in wanted
            if (gops := source.between(part.start_seconds, part.stop_seconds))
            for stretch in uncovered(cut(gops, source.fps), done)
        ]
        todo = budget.fit(source, todo)
        rest = uncovered(cut(source.gops, source.fps), sorted([*done, *todo], key=_start))
        if todo:
            source = _audited(source, todo, options)
            tracker.open(source, report, todo, whole=not rest)
            yield from tasks_for(source, todo)
        elif not budget.exceeded:
            report.outcome = "known"


def _coarsely(tracker: Tracker, source: Source, report: VideoReport) -> Iterator[Task]:
    """Yield the stretches whose groups of pictures have no row yet, where nothing is stored."""
    source = replace(source, coarse=True)
    todo = lacking_coarsely(tracker.store, source, tracker.space_key)
    if todo:
        tracker.store.catalog.set_status(source.video_id, "ingesting")
    tracker.open(source, report, todo, whole=False)
    yield from tasks_for(source, todo)


def lacking(store: Store, source: Source, space_key: str, strategy: str) -> list[Stretch]:
    """Return the parts of a video that are not stored at its sampling."""
    return uncovered(cut(source.gops, source.fps), committed(store, source, space_key, strategy))


def lacking_coarsely(store: Store, source: Source, space_key: str) -> list[Stretch]:
    """Return the stretches whose first frames are not stored, none where finer rows are."""
    done = store.committed_stretches(source.video_id, space_key, source.sampling, "dense")
    if committed(store, source, space_key, "auto"):
        return []
    stretches = cut_coarsely(source.gops)
    return [part for part in stretches if part.coarse_number(source.origin_seconds) not in done]


def _audited(source: Source, todo: Sequence[Stretch], options: IngestOptions) -> Source:
    """Say how many frames share an audit: all that each device has to embed of a video."""
    frames = sum(source.frames(part) for part in todo)
    return replace(source, planned=ceil(frames / max(1, len(options.devices))))


def _said(stored: float | None, fps: float, asked: float) -> str | None:
    """Say what becomes of rows at another rate than asked for, or None."""
    if stored is None or stored == asked:
        return None
    if fps == stored:
        return f"kept at {stored:g} frames/s, finer than the {asked:g} asked for; see --replace"
    return f"rows at {stored:g} frames/s give way to rows at {fps:g}"


def _start(stretch: Stretch) -> float:
    return stretch.start_seconds


def stored_source(store: Store, video_id: int, fps: float) -> Source:
    """Return a video that is on record, to be sampled at a rate.

    Raises VideoError if its file has gone or changed.
    """
    video = store.catalog.video(video_id)
    path = place_of(video.path)
    stamp = file_stamp(path)
    changed = stamp[1] != video.size_bytes
    if changed or (isinstance(path, Address) and content_hash(path) != video.content_hash):
        raise SourceChangedError(f"{video.name} has changed since it was ingested", path=video.path)
    return Source(path, stamp, video_id, video.name, stored_gops(store, video_id), fps)
