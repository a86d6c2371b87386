"""From one model to another: every video is embedded anew beside what is there, then queries turn.

Until all of it is there nothing changes for who asks. What was embedded when it was broken off is
kept, and the next run goes on there.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from engine.errors import UsageError
from engine.ingest import ingest
from engine.ingesting.identify import stored_rate
from engine.ingesting.report import IngestOptions, Progress
from engine.storage.records import Video
from engine.storage.store import Store
from engine.vision.model import Model


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What became of a move to another model."""

    source: str  # keys of the spaces
    target: str
    model: str  # that queries ask now, or once it is complete
    videos: int  # that have rows in the source
    frames: int  # embedded by this run
    failed: tuple[tuple[str, str], ...]  # videos that could not be embedded, and why
    switched: bool
    removed: bool  # the source's rows
    interrupted: bool

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def migrate(
    store: Store,
    source: str,
    model: Model,
    options: IngestOptions,
    *,
    remove: bool = False,
    progress: Progress | None = None,
) -> MigrationReport:
    """Embed by `model` what has rows in `source`, then make its space the one in use.

    Each video keeps its sampling. A video that cannot be embedded leaves everything as it is.
    """
    target = model.space.key
    if target == source:
        raise UsageError(f"{source} is the space of both; allowed: two models")
    store.catalog.add_space(model.space)
    frames, failed, done = 0, list[tuple[str, str]](), set[int]()
    while True:  # what came in meanwhile is embedded too
        rates = _by_rate(store, source, done)
        if not rates:
            break
        for rate, videos in sorted(rates.items()):
            chosen = replace(options, fps=rate, coverage="all", decode_gate=False)
            report = ingest(store, model, [video.path for video in videos], chosen, progress)
            frames += report.frames
            failed += [(each.name, each.reason or "") for each in report.quarantined]
            done.update(video.video_id for video in videos)
            if report.interrupted:
                return _told(source, model, done, frames, failed, interrupted=True)
    if failed:
        return _told(source, model, done, frames, failed)
    store.catalog.use_space(target)
    if remove:
        store.remove_space(source)
    return _told(source, model, done, frames, failed, switched=True, removed=remove)


def _by_rate(store: Store, source: str, done: set[int]) -> dict[float, list[Video]]:
    """Videos with rows in a space, by the frames a second that they are sampled at."""
    found: dict[float, list[Video]] = defaultdict(list)
    for video in store.catalog.videos():
        rate = stored_rate(store, video.video_id, source)
        if rate is not None and video.video_id not in done:
            found[rate].append(video)
    return found


def _told(
    source: str,
    model: Model,
    done: set[int],
    frames: int,
    failed: Sequence[tuple[str, str]],
    *,
    switched: bool = False,
    removed: bool = False,
    interrupted: bool = False,
) -> MigrationReport:
    return MigrationReport(
        source, model.space.key, model.space.model, len(done), frames, tuple(failed),
        switched, removed, interrupted,
    )  # fmt: skip
