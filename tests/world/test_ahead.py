"""Clips rendered beside are those rendered here, in order."""

import numpy as np

from engine.world.ahead import AHEAD, render_ahead
from engine.world.clip import make_clip
from engine.world.render import render_sampled


def test_a_worker_renders_the_same_in_the_same_order() -> None:
    clips = [make_clip(seed, "val", duration_seconds=2) for seed in range(3)]
    here = list(render_ahead(clips, fps=1.0, size=32, workers=0))
    beside = list(render_ahead(clips, fps=1.0, size=32, workers=1))
    assert [clip for clip, _ in here] == [clip for clip, _ in beside] == clips
    for (clip, mine), (_, theirs) in zip(here, beside, strict=True):
        assert np.array_equal(mine, theirs)
        assert np.array_equal(mine, render_sampled(clip, fps=1.0, size=32))


def test_no_more_clips_are_made_than_are_rendered_ahead() -> None:
    made = []

    def endless():
        while True:
            made.append(make_clip(len(made), "val", duration_seconds=2))
            yield made[-1]

    rendered = render_ahead(endless(), fps=1.0, size=32, workers=1)
    assert next(rendered)[0] is made[0]
    assert len(made) == AHEAD
    rendered.close()
