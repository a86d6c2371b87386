"""Ingest videos: file → identity → groups of pictures → frames → embeddings → rows."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from engine.cage.ending import ending_at_hand
from engine.cluster.run import run_tasks
from engine.ingesting.discover import Found, discover
from engine.ingesting.encode import StretchEncoder
from engine.ingesting.frame_budget import FrameBudget
from engine.ingesting.interrupt import interruptible, past
from engine.ingesting.plan import Task
from engine.ingesting.pool import Failed
from engine.ingesting.prepare import Decoded
from engine.ingesting.redecode import redecode as redecode
from engine.ingesting.report import Decoder as Decoder
from engine.ingesting.report import Event as Event
from engine.ingesting.report import IngestOptions as IngestOptions
from engine.ingesting.report import IngestReport as IngestReport
from engine.ingesting.report import Progress as Progress
from engine.ingesting.tasks import Plan, plan_files, plan_ranges
from engine.ingesting.tasks import register as register
from engine.ingesting.tracker import Tracker
from engine.ingesting.write import Writer
from engine.objects.address import Place
from engine.search.context import Range
from engine.search.work import Embedded
from engine.storage.store import Store
from engine.vision.model import Model


def ingest(
    store: Store,
    model: Model,
    paths: Sequence[str | Place | Found],
    options: IngestOptions,
    progress: Progress | None = None,
) -> IngestReport:
    """Embed the videos that `paths` mean: files, folders, globs.

    With a coverage of keys the first sampled frame of each group of pictures is embedded, densely;
    with none, nothing.

    What is stored already costs nothing more than reading the file once. A file that cannot be used
    is put on record with the reason and stops no other. Ctrl-C commits what is begun; the next run
    goes on there.
    """
    if options.coverage == "none":
        known = register(store, paths, options.recorded_pattern, options.columns)
        return replace(known, coverage="none")
    if options.coverage == "keys":
        options = replace(options, decode_gate=False)  # each group is decoded as little as can be
    files = discover(paths)
    store.catalog.add_space(model.space)
    tracker = Tracker(store, model.space.key, options, progress)
    plan = Plan.ahead(plan_files(tracker, files), options)
    options = replace(options, apart=options.apart and not plan.tiny)
    encoder = StretchEncoder(model, options, few=plan.few or options.coverage == "keys")
    with interruptible(progress.stopped if progress else lambda: False) as stopped:
        complete = _embed(tracker, encoder, plan.tasks, stopped)
    store.settle(now=not options.apart)  # a server has more to do, and readers ask it
    return tracker.report(model, encoder.choice, encoder.choices_made, complete=complete)


def ensure(
    store: Store,
    model: Model,
    ranges: Sequence[Range],
    options: IngestOptions,
    budget_seconds: float | None = None,
    embed_seconds: float | None = None,
    budget_frames: int | None = None,
) -> Embedded:
    """Embed exactly the groups of pictures in `ranges` that lack embeddings, within the budgets.

    A stretch in which `budget_seconds` end is given up; where `embed_seconds` do, or nobody waits
    for the work at hand any more, it is finished and none is begun.
    A video that has rows keeps their sampling. What cannot be read leaves the answer incomplete.
    """
    late, left = past(budget_seconds, embed_seconds), ending_at_hand()
    ended = None if budget_seconds is None else past(budget_seconds)
    store.catalog.add_space(model.space)
    options = replace(options, decode_gate=False)  # its audit is of whole videos
    tracker = Tracker(store, model.space.key, options)
    frames = FrameBudget(budget_frames)
    plan = Plan.ahead(plan_ranges(tracker, ranges, frames), options)
    encoder = StretchEncoder(model, options, few=plan.few)
    whole = _embed(tracker, encoder, plan.tasks, lambda: late() or left(), ended)
    saved = encoder.auto.saved_seconds if encoder.auto else None
    return tracker.embedded(saved, choice=encoder.choice, budget=frames.exceeded or not whole)


def _embed(
    tracker: Tracker,
    encoder: StretchEncoder,
    tasks: Iterator[Task],
    stopped: Callable[[], bool],
    ended: Callable[[], bool] | None = None,
) -> bool:
    """Decode, encode and write until all tasks are done; return False if stopped before."""
    with (
        Writer(tracker.commit) as writer,
        closing(run_tasks(tracker, encoder, tasks, stopped, ended)) as turns,
    ):
        for events in turns:
            for event in events:
                if isinstance(event, Decoded):
                    tracker.decoded(event)
                elif isinstance(event, Failed):
                    tracker.fail(event)
                else:
                    tracker.encoded(event)
                    writer.put(event)
            if stopped():
                return False
    return ended is None or not ended()
