"""Boxes and what is to be seen of a thing, against pictures with it and without it."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.world.boxes import boxes_at
from engine.world.render import render_planes
from engine.world.scene import Thing, WorldScript
from engine.world.script import make_script

SIZE = 224


def still(seed: int) -> WorldScript:
    """A script's first shot in which all stays where it begins: nothing leaves a trail."""
    script = make_script(seed, "val", 4000, None)
    shot = script.shots[0]
    things = tuple(
        replace(
            thing,
            keys=tuple(keys[:1] for keys in thing.keys),
            colours=((0, thing.colours[0][1]),),
            start=0,
            stop=4000,
        )
        for thing in shot.things
    )
    whole = replace(shot, start=0, stop=4000, things=things)
    return replace(script, shots=(whole,), noise=0, light="steady")


def only(script: WorldScript, things: tuple[Thing, ...]) -> NDArray[np.int64]:
    shot = replace(script.shots[0], things=things)
    return render_planes(replace(script, shots=(shot,)), 1000, SIZE).astype(np.int64)


def objects(script: WorldScript) -> list[Thing]:
    return [replace(thing, keys=(keys,)) for thing in script.shots[0].things for keys in thing.keys]


@pytest.mark.parametrize("seed", range(12))
def test_a_box_is_around_what_a_thing_changes(seed: int) -> None:
    """The outline lies around the face, of which the box is: a pixel or two on each side."""
    script = still(seed)
    things = objects(script)
    boxes = {box.number: box for box in boxes_at(script, 1000, SIZE)}
    for number, thing in enumerate(things):
        alone = np.abs(only(script, (thing,)) - only(script, ())).sum(0) > 24
        if number not in boxes or boxes[number].visible == 0:
            continue
        box = boxes[number]
        rows, columns = np.flatnonzero(alone.any(1)), np.flatnonzero(alone.any(0))
        around = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        assert np.abs(np.array(box.sides) * SIZE - around).max() <= 4
        assert (box.shape, box.colour) == (thing.shape, thing.colours[0][1])
        rest = tuple(each for at, each in enumerate(things) if at != number)
        together = tuple(things)
        seen = (np.abs(only(script, together) - only(script, rest)).sum(0) > 24).sum()
        inside = np.prod([box.sides[2] - box.sides[0], box.sides[3] - box.sides[1]])
        if min(box.sides) > 0.02 and max(box.sides) < 0.98 and inside > 0.01:
            assert abs(box.visible - seen / alone.sum()) < 0.12


def test_what_is_outside_is_none_and_a_time_before_a_thing_has_none() -> None:
    script = still(3)
    shot = script.shots[0]
    away = replace(
        shot.things[0], keys=tuple((replace(k[0], x=9000),) for k in shot.things[0].keys)
    )
    late = replace(shot.things[-1], start=2000)
    moved = replace(script, shots=(replace(shot, things=(away, late)),))
    assert boxes_at(moved, 1000, SIZE) == []
    assert [box.shape for box in boxes_at(moved, 2000, SIZE)] == [late.shape] * late.count
