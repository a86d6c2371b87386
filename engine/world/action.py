"""Clips in which one thing moves and all others stay still: what there is to name is one motion."""

from dataclasses import dataclass, replace

import numpy as np

from engine.world.draw import Draw
from engine.world.motion import make_keys
from engine.world.render import Image, render_planes
from engine.world.scene import Act, Shot, Thing, WorldScript
from engine.world.script import make_script
from engine.world.splits import SIZES, Split, motions_of

LABELS = {
    "left": "moving left",
    "right": "moving right",
    "up": "moving up",
    "down": "moving down",
    "circle": "moving in a circle",
    "bounce": "bouncing",
    "grow": "growing",
    "shrink": "shrinking",
    "still": "staying still",
}
DURATION = 6000  # ticks of such a clip


@dataclass(frozen=True, slots=True)
class ActionClip:
    """A script, and the motion of the one thing in it that moves."""

    script: WorldScript
    motion: str

    @property
    def label(self) -> str:
        """What the motion is called."""
        return LABELS[self.motion]

    def render(self, start: int, frames: int, fps: float, size: int) -> Image:
        """Frames `[F, 3, size, size]` from a tick on, each the mean of four times its pixels."""
        ticks = [start + round(1000 * number / fps) for number in range(frames)]
        planes = np.stack([render_planes(self.script, tick, 2 * size) for tick in ticks])
        grid = planes.reshape(frames, 3, size, 2, size, 2).astype(np.uint16)
        return ((grid.sum((3, 5)) + 2) // 4).astype(np.uint8)


def make_action(seed: int, split: Split, motion: str | None = None) -> ActionClip:
    """Make up a clip; the motion is drawn if not given, all equally often.

    A shape moves as it may in the split: the splits share no pair of shape and motion, but for
    staying still.
    """
    draw = Draw("action", split, seed)
    drawn = draw.choice(tuple(LABELS))
    motion = drawn if motion is None else motion
    while True:
        script = make_script(draw.below(1 << 40), split, DURATION, None)
        shot = script.shots[0]
        able = [
            thing
            for thing in shot.things
            if thing.count == 1 and motion in (*motions_of(split, thing.shape), "still")
        ]
        if able:
            break
    mover = draw.choice(tuple(able))
    things = tuple(
        _moving(thing, motion if thing is mover else "still", draw) for thing in shot.things
    )
    whole = replace(shot, start=0, stop=DURATION, camera="fixed", things=things)
    return ActionClip(replace(script, shots=(_apart(whole),)), motion)


def _moving(thing: Thing, motion: str, draw: Draw) -> Thing:
    """Show a thing all along, in one colour, doing one thing from where it began."""
    radius = SIZES[thing.size]
    starts = [(keys[0].x, keys[0].y, radius) for keys in thing.keys]
    paths = [tuple(make_keys(motion, 0, DURATION, at, draw)) for at in starts]
    return replace(
        thing,
        colours=((0, thing.colours[0][1]),),
        start=0,
        stop=DURATION,
        acts=(Act(0, DURATION, motion),),
        keys=tuple(paths),
    )


def _apart(shot: Shot) -> Shot:
    """Draw what moves last, so that nothing hides it."""
    order = sorted(shot.things, key=lambda thing: thing.acts[0].motion != "still")
    return replace(shot, things=tuple(order))
