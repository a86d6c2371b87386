"""How well the best moment of a video covers what a text tells: made-up clips, times known."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.config import Settings
from engine.evaluation.bench.world import dense_world
from engine.evaluation.encodings import Encodings, Vectors
from engine.evaluation.report import Report
from engine.search.curve import level_of
from engine.search.moments import Span, find_spans
from engine.vision.model import load_model
from engine.world.captions import name_thing
from engine.world.scene import TICKS, Clip, Thing
from engine.world.splits import Split

Kind = Literal["for a moment", "for a part", "all the time", "caption of a part"]
KINDS: tuple[Kind, ...] = ("for a moment", "for a part", "all the time", "caption of a part")
_NEARLY_ALL = 0.9  # of a clip; what is shown for longer is there all the time
_LEAST_FRAMES = 6


@dataclass(frozen=True, slots=True)
class ToldMoment:
    """A text and when it is true."""

    kind: Kind
    clip: str
    text: str
    start_seconds: float
    stop_seconds: float


def run(
    *,
    model: str = "builtin",
    device: str = "auto",
    clips: int = 60,
    seed: int = 23,
    split: Split = "test",
    fps: float = 2.0,
    workers: int = 2,
) -> Report:
    """Look for things and captions in the clip that shows them; one row per kind of text."""
    loaded = load_model(model, device=device)
    pool, encodings = dense_world(loaded, split, clips, seed, fps=fps, workers=workers)
    told = list(find_told(pool, encodings))
    texts = list(dict.fromkeys(item.text for item in told))
    vectors = dict(zip(texts, loaded.embed_texts(texts), strict=True))
    mean = np.concatenate([video.frames for video in encodings.videos.values()]).mean(0)
    rows = []
    for kind in KINDS:
        pairs = [
            (item, best_moment(encodings.videos[item.clip], vectors[item.text], mean))
            for item in told
            if item.kind == kind
        ]
        rows.append(_row(kind, pairs))
    return Report(
        title=f"best moment of a video, {loaded.space.key}, {clips} {split} clips",
        columns=("shown", "texts", "mean IoU", "best frame inside", "seconds", "true seconds"),
        rows=rows,
        notes=(
            f"{fps:g} frames/s, seed {seed}; a text is looked for in the clip that shows it, and "
            "the moment with the best frame is held against the times in the script",
        ),
        data={"seed": seed},
    )


def find_told(pool: Iterable[Clip], encodings: Encodings) -> Iterator[ToldMoment]:
    """Yield what is told of clips: things that no other could be taken for, captions of parts."""
    for clip in pool:
        if len(encodings.videos[clip.name].seconds) < _LEAST_FRAMES:
            continue
        things = [thing for shot in clip.script.shots for thing in shot.things]
        for thing in things:
            if sum(_look(other) == _look(thing) for other in things) > 1:
                continue
            stop = thing.stop if len(thing.colours) == 1 else thing.colours[1][0]
            span = thing.start / TICKS, stop / TICKS
            share = (span[1] - span[0]) / clip.duration_seconds
            long: Kind = "all the time" if share > _NEARLY_ALL else "for a part"
            text = name_thing(thing, thing.start, article="a", full=False)
            yield ToldMoment("for a moment" if thing.brief else long, clip.name, text, *span)
        for part in clip.spans:
            if part.stop_seconds - part.start_seconds < _NEARLY_ALL * clip.duration_seconds:
                span = part.start_seconds, part.stop_seconds
                yield ToldMoment("caption of a part", clip.name, part.caption, *span)


def best_moment(video: Vectors, text: NDArray[np.float32], mean: NDArray[np.float32]) -> Span:
    """Return the moment of a video with the highest frame, as a query forms it."""
    scores = (video.frames @ text).astype(np.float64)
    even, level = level_of(video.seconds, scores, float(mean @ text))
    gap = Settings.model_fields["gap_seconds"].default
    return max(find_spans(video.seconds, scores, even >= level, gap), key=lambda span: span.score)


def overlap(found: Span, told: ToldMoment) -> float:
    """Intersection over union in time."""
    start, stop = found.start_seconds, found.stop_seconds
    shared = max(0.0, min(stop, told.stop_seconds) - max(start, told.start_seconds))
    return shared / (max(stop, told.stop_seconds) - min(start, told.start_seconds))


def _look(thing: Thing) -> tuple[str, str]:
    return thing.shape, thing.colours[0][1]


def _row(kind: Kind, pairs: list[tuple[ToldMoment, Span]]) -> tuple[str | int | float | None, ...]:
    if not pairs:
        return (kind, 0, None, None, None, None)
    inside = [told.start_seconds <= span.peak_seconds < told.stop_seconds for told, span in pairs]
    return (
        kind,
        len(pairs),
        float(np.mean([overlap(span, told) for told, span in pairs])),
        float(np.mean(inside)),
        float(np.mean([span.stop_seconds - span.start_seconds for _, span in pairs])),
        float(np.mean([told.stop_seconds - told.start_seconds for told, _ in pairs])),
    )
