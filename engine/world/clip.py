"""Clips from a seed, one by one or as a pool."""

from collections.abc import Iterator

from engine.world.captions import make_spans, tell_clip
from engine.world.draw import Draw
from engine.world.questions import make_questions
from engine.world.scene import TICKS, Clip
from engine.world.script import make_script
from engine.world.splits import Split, check_split

FPS = 12.0


def make_clip(
    seed: int,
    split: Split,
    *,
    duration_seconds: float | None = None,
    redundancy: float | None = None,
) -> Clip:
    """Make up a clip; what is not given is drawn from the seed.

    Args:
        seed: any integer; the same one gives the same clip everywhere.
        split: decides which combinations of shape, colour and motion may occur.
        duration_seconds: 2 to 600; drawn from 5 to 60.
        redundancy: 0, a busy hand-held view with cuts, to 1, an almost still one.
    """
    script = make_script(
        seed,
        check_split(split),
        None if duration_seconds is None else round(duration_seconds * TICKS),
        None if redundancy is None else round(redundancy * 100),
    )
    return Clip(
        name=f"{split}-{seed}",
        script=script,
        fps=FPS,
        caption=tell_clip(script),
        spans=make_spans(script),
        questions=make_questions(script),
    )


def make_pool(split: Split, clips: int, seed: int) -> Iterator[Clip]:
    """Make up `clips` clips with captions that all differ."""
    seen: set[str] = set()
    draw = Draw("pool", seed)
    while len(seen) < clips:
        clip = make_clip(draw.below(1 << 40), split)
        if clip.caption not in seen:
            seen.add(clip.caption)
            yield clip
