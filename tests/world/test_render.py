"""Pixels: the same everywhere, of any size, and as the script says."""

import hashlib

import numpy as np
import pytest

from engine.world import make_clip, render_at
from engine.world.render import light_at, render_frames
from engine.world.scene import TICKS

# sha256 over frames of clips of every split, sizes and instants below
DIGEST = "3b86fefe6659e5ec4a1921693a7e7ea47225668201d90b3d8a2354646da3522a"


def frames_digest() -> str:
    digest = hashlib.sha256()
    for split in ("train", "val", "test"):
        for seed in range(12):
            clip = make_clip(seed, split)
            for part, size in ((0.1, 224), (0.5, 97), (0.93, 64)):
                digest.update(render_at(clip, part * clip.duration_seconds, size).tobytes())
    return digest.hexdigest()


def test_pixels_are_the_same_on_every_platform() -> None:
    assert frames_digest() == DIGEST


@pytest.mark.parametrize("size", [1, 17, 224, 320])
def test_any_size_is_rendered(size: int) -> None:
    image = render_at(make_clip(5, "train"), 1.0, size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8


def test_frames_are_those_of_their_instants() -> None:
    clip = make_clip(2, "val", duration_seconds=2.0)
    frames = list(render_frames(clip, 48))
    assert len(frames) == 24
    assert np.array_equal(frames[13], render_at(clip, 13 / clip.fps, 48))


def test_an_almost_still_clip_changes_less_than_a_busy_one() -> None:
    def change(redundancy: float) -> float:
        steps = []
        for seed in range(15):
            clip = make_clip(seed, "train", redundancy=redundancy, duration_seconds=6.0)
            a, b = (render_at(clip, t, 64).astype(int) for t in (3.0, 3.5))
            steps.append(float(np.abs(a - b).mean()))
        return float(np.mean(steps))

    assert 2 * change(1.0) < change(0.0)


def test_a_thing_is_seen_only_while_it_is_there() -> None:
    seen = 0
    for seed in range(60):
        clip = make_clip(seed, "test", redundancy=1.0)
        shot = clip.script.shots[0]
        for thing in (thing for thing in shot.things if thing.brief):
            others = [other for other in shot.things if other is not thing]
            ticks = {t for other in others for t in (other.start, other.stop)}
            if any(abs(t - edge) < 500 for t in ticks for edge in (thing.start, thing.stop)):
                continue
            if any(act.motion != "still" for other in others for act in other.acts):
                continue
            if any(light_at(clip.script, t) != 256 for t in (thing.start, thing.stop)):
                continue
            before, there, after = (
                render_at(clip, tick / TICKS).astype(int)
                for tick in (thing.start - 100, thing.start + 100, thing.stop + 100)
            )
            assert (np.abs(there - before).max(2) > 40).sum() > 300
            assert (np.abs(after - before).max(2) > 40).sum() < 100
            seen += 1
    assert seen >= 3
