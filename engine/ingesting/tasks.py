"""What is to be decoded: for files that are ingested, for parts that a query needs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from engine.errors import VideoError
from engine.ingesting.discover import Found
from engine.ingesting.identify import (
    committed,
    identify,
    names_for,
    shortfall,
    stored_gops,
)
from engine.ingesting.journal import Journal
from engine.ingesting.plan import Source, Stretch, Task, cut, tasks_for, uncovered
from engine.ingesting.report import IngestOptions, VideoReport
from engine.search.context import Range
from engine.storage.store import Store
from engine.video.container import file_stamp


def plan_files(journal: Journal, files: Sequence[Found]) -> Iterator[Task]:
    """Identify files one after the other and yield what is not stored of each."""
    store, options = journal.store, journal.options
    entered: set[int] = set()
    for found, name in zip(files, names_for(store, files), strict=True):
        report = VideoReport(name, found.address, "interrupted")
        journal.reports.append(report)
        try:
            source, info = identify(store, found, name)
        except VideoError as error:
            report.outcome, report.reason = "quarantined", str(error)
            continue
        report.video_id = source.video_id
        if source.video_id in entered:
            report.outcome = "known"  # the same content as a file before it
            continue
        entered.add(source.video_id)
        done = committed(store, source.video_id, journal.space_key, options)
        todo = uncovered(cut(source.gops, options.fps), done)
        if todo:
            gap = shortfall(info, source.gops)
            report.missing += [gap] if gap else []
            store.catalog.set_status(source.video_id, "ingesting")
        journal.open(source, report, todo)
        yield from tasks_for(source, todo)


@dataclass(frozen=True, slots=True)
class Plan:
    """The tasks of an ingest, planned as they are taken."""

    tasks: Iterator[Task]
    few: bool  # all together they have fewer frames than `auto` weighs strategies for

    @classmethod
    def ahead(cls, tasks: Iterator[Task], options: IngestOptions) -> "Plan":
        """Plan as far ahead as it takes to know whether the frames are few."""
        seen: list[Task] = []
        frames = 0
        while options.strategy == "auto" and frames < options.weigh_from:
            if (task := next(tasks, None)) is None:
                return cls(iter(seen), few=True)
            seen.append(task)
            frames += sum(
                len(task.source.times(part.start_seconds, part.stop_seconds, options.fps))
                for part in task.stretches
            )
        return cls(chain(seen, tasks), few=False)


def register_files(store: Store, files: Sequence[Found]) -> list[VideoReport]:
    """Identify files and embed nothing."""
    reports = []
    for found, name in zip(files, names_for(store, files), strict=True):
        report = VideoReport(name, found.address, "known")
        reports.append(report)
        try:
            report.video_id = identify(store, found, name)[0].video_id
        except VideoError as error:
            report.outcome, report.reason = "quarantined", str(error)
    return reports


def plan_ranges(journal: Journal, ranges: Sequence[Range]) -> Iterator[Task]:
    """Yield what is not stored of the groups of pictures that ranges touch."""
    store, options = journal.store, journal.options
    any_strategy = replace(options, strategy="auto")
    for video_id in dict.fromkeys(part.video_id for part in ranges):
        wanted = [part for part in ranges if part.video_id == video_id]
        report = VideoReport(store.catalog.video(video_id).name, "", "interrupted", video_id)
        journal.reports.append(report)
        try:
            source = stored_source(store, video_id)
        except VideoError as error:
            report.outcome, report.reason = "quarantined", str(error)
            continue
        report.path = str(source.path)
        done = committed(store, video_id, journal.space_key, any_strategy)
        todo = [
            stretch
            for part in wanted
            if (gops := source.between(part.start_seconds, part.stop_seconds))
            for stretch in uncovered(cut(gops, options.fps), done)
        ]
        rest = uncovered(cut(source.gops, options.fps), sorted([*done, *todo], key=_start))
        if todo:
            journal.open(source, report, todo, whole=not rest)
            yield from tasks_for(source, todo)
        else:
            report.outcome = "known"


def _start(stretch: Stretch) -> float:
    return stretch.start_seconds


def stored_source(store: Store, video_id: int) -> Source:
    """Return a video that is on record; VideoError if its file has gone or changed."""
    video = store.catalog.video(video_id)
    path = Path(video.path)
    stamp = file_stamp(path)
    if stamp[1] != video.size_bytes:
        raise VideoError(f"{video.name} has changed since it was ingested", path=video.path)
    return Source(path, stamp, video_id, video.name, stored_gops(store, video_id))
