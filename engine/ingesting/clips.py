"""A stretch of video to clips: rows of several pictures in order, for models that embed those."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from engine.ingesting.plan import TOLERANCE_SECONDS, Stretch, Task
from engine.ingesting.prepare import Preparation, PreparedStretch, Ready, Watch
from engine.ingesting.report import Missing
from engine.video.container import reading
from engine.video.decode import Frame, decode_range
from engine.video.sample import Instants, any_in, sample_frames
from engine.vision.backbone.preprocess import prepare


def prepare_clips(
    preparation: Preparation, task: Task, tick: Callable[[], None]
) -> Iterator[PreparedStretch]:
    """Decode a task and yield its stretches; a row is the clip from its instant to the next one.

    Its pictures are those on screen at evenly spaced instants within, also beyond the stretch's
    end; where the video has ended the last one stays. A clip in which nothing new comes on screen
    is no row, as with pictures.
    """
    with reading(task.source.path):
        for stretch in task.stretches:
            yield _prepare(preparation, task, stretch, tick)
    task.source.check_unchanged()


def _prepare(
    preparation: Preparation, task: Task, stretch: Stretch, tick: Callable[[], None]
) -> PreparedStretch:
    started, source, held = preparation.clock(), task.source, preparation.preprocessing.pictures
    rows = source.times(stretch.start_seconds, stretch.stop_seconds)
    numbers = (
        source.first_instants(stretch) if source.coarse else list(range(rows.first, rows.stop))
    )
    within = Instants(rows.origin_seconds, rows.fps * held, rows.first * held, rows.stop * held)
    last = within.seconds(within.stop)
    end = source.whole.stop_seconds
    stop = min(max(stretch.stop_seconds, last), end)
    wanted = [within.seconds(n * held + at) for n in numbers for at in range(held)]

    def looked(start_seconds: float, stop_seconds: float) -> bool:
        """Whether a picture is in a clip; the video's last one stays in the last clip."""
        stays = last > end and stop_seconds > end - TOLERANCE_SECONDS
        return stays or any_in(wanted, start_seconds, stop_seconds)

    watch = Watch(tick)
    pictures = decode_range(
        source.path, source.entry(stretch.start_seconds).start_seconds, stop, gops=source.gops,
        damage=watch.damage, looked=looked,
    )  # fmt: skip
    ready = list(
        _clips(sample_frames(watch.sound(pictures, stop), within), numbers, rows, preparation)
    )
    missing = [each for each in watch.missing if each.start_seconds < stretch.stop_seconds]
    if numbers and not (ready or missing or watch.shown):
        reason = watch.reason or "no picture could be decoded"
        missing = [Missing(stretch.start_seconds, stretch.stop_seconds, reason)]
    seconds = preparation.clock() - started
    return PreparedStretch(
        task, stretch, ready, missing, watch.decoded, seconds, preparation.decoder
    )


def _clips(
    sampled: Iterator[Frame], numbers: Sequence[int], rows: Instants, preparation: Preparation
) -> Iterator[Ready]:
    """Gather pictures into clips, each shown until the next."""
    held = preparation.preprocessing.pictures
    shown: Tensor | None = None  # the picture that is on screen
    kind, following = "", next(sampled, None)
    for number in numbers:
        clip: list[Tensor | None] = []
        fresh, first = False, ""
        for at in range(number * held, (number + 1) * held):
            while following is not None and following.number is not None and following.number <= at:
                fresh = fresh or following.number >= number * held
                shown, kind = prepare(following.image, preparation.preprocessing), following.picture
                following = next(sampled, None)
            first = first or kind
            clip.append(shown)
        there = next((each for each in clip if each is not None), None)
        if not fresh or there is None:
            continue
        pixels = torch.stack([there if each is None else each for each in clip])
        yield Ready(number, rows.seconds(number), first, pixels, None)
