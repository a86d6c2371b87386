"""Scripts from a seed: which things do what, when, before what, seen by which camera."""

from dataclasses import dataclass, field, replace
from itertools import pairwise

from engine.errors import UsageError
from engine.world.backdrops import SURFACES, VIEWS, tones_of
from engine.world.draw import Draw
from engine.world.motion import chase_keys, collide_keys, make_keys
from engine.world.scene import Act, Backdrop, Key, Shot, Thing, WorldScript, position_at
from engine.world.splits import PATTERNS, SHAPES, SIZES, Split, colours_of, motions_of

CELLS = tuple((x, y) for y in (900, 2048, 3196) for x in (900, 2048, 3196))
ALONE = ("left", "right", "up", "down", "circle", "bounce", "grow", "shrink")
LAG = 800  # ticks that a chaser is behind


@dataclass(slots=True)
class _Cast:
    """What is still free while a clip is being made up.

    Shapes and colours name things, so each is used once.
    """

    split: Split
    draw: Draw
    busy: int  # percent of things that move
    shapes: list[str] = field(default_factory=lambda: list(SHAPES))
    used: set[str] = field(default_factory=set)

    def look(self) -> tuple[str, str] | None:
        """Take a free shape with a free colour, or nothing when none is left."""
        for shape in self.draw.sample(self.shapes, len(self.shapes)):
            colours = [name for name in colours_of(self.split, shape) if name not in self.used]
            if colours:
                colour = self.draw.choice(colours)
                self.shapes.remove(shape)
                self.used.add(colour)
                return shape, colour
        return None

    def recolour(self, shape: str) -> str | None:
        """Take another free colour for a shape."""
        colours = [name for name in colours_of(self.split, shape) if name not in self.used]
        if not colours:
            return None
        self.used.add(colour := self.draw.choice(colours))
        return colour


def make_script(
    seed: int, split: Split, duration: int | None, redundancy: int | None
) -> WorldScript:
    """Make up a script; `duration` in ticks and `redundancy` in percent are drawn if not given."""
    if duration is not None and not 2000 <= duration <= 600_000:
        raise UsageError(f"duration {duration / 1000} s; allowed: 2 to 600 s")
    if redundancy is not None and not 0 <= redundancy <= 100:
        raise UsageError(f"redundancy {redundancy / 100}; allowed: 0 to 1")
    draw = Draw("clip", split, seed)
    drawn = _duration(draw)
    still = draw.below(101)
    duration = duration if duration is not None else drawn
    still = redundancy if redundancy is not None else still
    cast = _Cast(split, draw, busy=95 - still * 75 // 100)
    cuts = _cuts(draw, still, duration)
    shots = tuple(_shot(cast, start, stop, still, len(cuts) > 2) for start, stop in pairwise(cuts))
    light = draw.choice(("dims", "brightens", "flickers")) if draw.chance(20) else "steady"
    noise = draw.between(0, 3) if still > 60 else draw.between(1, 7)
    return WorldScript(split, seed, still, duration, shots, light, noise)


def _duration(draw: Draw) -> int:
    kind = draw.below(100)
    low, high = (10, 24) if kind < 82 else (24, 50) if kind < 97 else (50, 120)
    return draw.between(low, high) * 500


def _cuts(draw: Draw, still: int, duration: int) -> list[int]:
    """Ticks at which shots start, and the end."""
    if duration < 6000 or not draw.chance(0 if still > 75 else 12 if still > 40 else 30):
        return [0, duration]
    if duration < 9000 or draw.chance(65):
        return [0, duration * draw.between(38, 62) // 100, duration]
    third = duration // 3
    return [0, third + draw.between(-500, 500), 2 * third + draw.between(-500, 500), duration]


def _camera(draw: Draw, still: int) -> str:
    if still > 75 or draw.chance(45 if still > 40 else 15):
        return "fixed"
    return draw.choice(("left", "right", "in", "out", "shake"))


def _backdrop(draw: Draw) -> Backdrop:
    kind = draw.choice((*SURFACES, *VIEWS))
    return Backdrop(kind, draw.choice(tones_of(kind)), draw.below(1 << 20))


def _shot(cast: _Cast, start: int, stop: int, still: int, one_of_many: bool) -> Shot:
    draw = cast.draw
    backdrop, camera = _backdrop(draw), _camera(draw, still)
    wanted = draw.between(1, 2) if one_of_many else draw.choice((1, 2, 2, 3, 3, 3, 4, 4, 5))
    cells = draw.sample(CELLS, len(CELLS))
    things: list[Thing] = []
    if wanted >= 2 and draw.chance(cast.busy // 5):
        things += _collision(cast, start, stop, cells)
    many = wanted <= 3 and draw.chance(30)
    while len(things) < wanted and len(cells) > 3 and (look := cast.look()):
        count = draw.between(2, 4) if many else 1
        many = False
        things.append(_plain(cast, look, (start, stop), [cells.pop() for _ in range(count)]))
    if len(things) >= 2 and draw.chance(cast.busy // 4):
        _add_chase(cast, things, start, stop)
    things = _add_events(cast, things, start, stop)
    if stop - start >= 3500 and sum(thing.count for thing in things) < 6 and draw.chance(60):
        things += _brief(cast, start, stop, cells)
    order = sorted(things, key=lambda thing: -SIZES[thing.size])
    return Shot(start, stop, backdrop, camera, _link(things, order), draw.below(1 << 30))


def _link(made: list[Thing], order: list[Thing]) -> tuple[Thing, ...]:
    """Put things in drawing order, with the numbers by which acts name others put right."""
    place = {thing.shape: index for index, thing in enumerate(order)}
    return tuple(
        replace(
            thing,
            acts=tuple(
                replace(act, other=place[made[act.other].shape]) if act.other >= 0 else act
                for act in thing.acts
            ),
        )
        for thing in order
    )


def _looks(draw: Draw) -> tuple[str, str]:
    return draw.choice(PATTERNS), draw.choice(tuple(SIZES))


def _motion(cast: _Cast, shape: str, apart: tuple[str, ...] = ()) -> str:
    """Draw a motion that a thing can have by itself, and that is none of `apart`."""
    allowed = [
        name for name in motions_of(cast.split, shape) if name in ALONE and name not in apart
    ]
    moves = allowed and ("still" in apart or cast.draw.chance(cast.busy))
    return cast.draw.choice(allowed) if moves else "still"


def _plain(
    cast: _Cast, look: tuple[str, str], times: tuple[int, int], cells: list[tuple[int, int]]
) -> Thing:
    draw, (shape, colour), (start, stop) = cast.draw, look, times
    pattern, size = _looks(draw)
    if len(cells) > 1 and size == "large":
        size = "medium"
    motion = _motion(cast, shape)
    pace = draw.below(1 << 30)
    paths = [
        tuple(make_keys(motion, start, stop, _near(draw, cell, size), Draw(pace))) for cell in cells
    ]
    acts = (Act(start, stop, motion),)
    return Thing(shape, pattern, size, ((start, colour),), start, stop, False, acts, tuple(paths))


def _near(draw: Draw, cell: tuple[int, int], size: str) -> tuple[int, int, int]:
    return cell[0] + draw.between(-180, 180), cell[1] + draw.between(-180, 180), SIZES[size]


def _collision(cast: _Cast, start: int, stop: int, cells: list[tuple[int, int]]) -> list[Thing]:
    """Two things that run into each other along a row, if two shapes may in this split."""
    draw = cast.draw
    allowed = [name for name in cast.shapes if "collide" in motions_of(cast.split, name)]
    rest, cast.shapes = cast.shapes, allowed
    pair = [look for look in (cast.look(), cast.look()) if look]
    cast.shapes = [name for name in rest if name not in {shape for shape, _ in pair}]
    if len(pair) < 2:
        cast.shapes += [shape for shape, _ in pair]
        cast.used -= {colour for _, colour in pair}
        return []
    row = draw.choice((900, 2048, 3196))
    cells[:] = [cell for cell in cells if cell[1] != row]
    looks = [_looks(draw) for _ in pair]
    ends = [(x, row, SIZES[size]) for x, (_, size) in zip((700, 3400), looks, strict=True)]
    paths = collide_keys(start, stop, ends[0], ends[1], draw)
    return [
        Thing(
            shape, pattern, size, ((start, colour),), start, stop, False,
            (Act(start, stop, "collide", 1 - index),), (tuple(path),),
        )
        for index, ((shape, colour), (pattern, size), path) in enumerate(
            zip(pair, looks, paths, strict=True)
        )
    ]  # fmt: skip


def _add_chase(cast: _Cast, things: list[Thing], start: int, stop: int) -> None:
    """Let the last thing of a shot chase one that moves about, where its shape may."""
    leaders = [
        index
        for index, thing in enumerate(things[:-1])
        if thing.count == 1 and thing.acts[0].motion in ("left", "right", "up", "down", "circle")
    ]
    chaser = things[-1]
    if not leaders or chaser.count > 1 or "chase" not in motions_of(cast.split, chaser.shape):
        return
    leader = cast.draw.choice(leaders)
    lag = LAG + (SIZES[chaser.size] + SIZES[things[leader].size]) // 2
    things[-1] = replace(
        chaser,
        acts=(Act(start, stop, "chase", leader),),
        keys=(chase_keys(things[leader].keys[0], lag, SIZES[chaser.size]),),
    )


def _add_events(cast: _Cast, things: list[Thing], start: int, stop: int) -> list[Thing]:
    """Let some things appear, vanish or change colour, and one change what it does just then."""
    if stop - start < 3000:
        return things
    draw = cast.draw
    kinds = draw.sample(("appear", "vanish", "recolour", "appear"), draw.between(1, 3))
    busy = {act.other for thing in things for act in thing.acts}
    free = [
        index for index, thing in enumerate(things) if index not in busy and thing.acts[0].other < 0
    ]
    taken = draw.sample(free, min(len(kinds), len(things) - 1))
    slots = draw.sample((22, 36, 50, 64, 78), len(taken))
    causes = []
    for index, kind, slot in zip(taken, kinds, slots, strict=False):
        tick = start + (stop - start) * slot // 100
        things[index], happened = _event(cast, things[index], kind, tick)
        if happened:
            causes.append(tick)
    actors = [index for index in free if index not in taken and things[index].count == 1]
    if causes and actors and draw.chance(85):
        index = draw.choice(actors)
        things[index] = _switch(cast, things[index], draw.choice(causes))
    return things


def _event(cast: _Cast, thing: Thing, kind: str, tick: int) -> tuple[Thing, bool]:
    """The thing with an event, and whether what it leads to can be seen from then on."""
    if kind == "appear":
        return replace(thing, start=tick), True
    if kind == "vanish":
        return replace(thing, stop=tick), False
    colour = cast.recolour(thing.shape)
    if colour is None:
        return replace(thing, start=tick), True
    return replace(thing, colours=(*thing.colours, (tick, colour))), True


def _switch(cast: _Cast, thing: Thing, tick: int) -> Thing:
    """Let a thing do something else from a tick on."""
    first = thing.acts[0]
    motion = _motion(cast, thing.shape, (first.motion,))
    if motion == first.motion:
        motion = _motion(cast, thing.shape, (first.motion, "still"))
    if motion == first.motion:
        return thing
    before = _clean(thing.keys[0], tick)
    last = before[-1]
    inside = (min(max(last.x, 500), 3600), min(max(last.y, 500), 3600), SIZES[thing.size])
    after = make_keys(motion, tick + 1, first.stop, inside, cast.draw)
    acts = (Act(first.start, tick, first.motion), Act(tick, first.stop, motion))
    return replace(thing, acts=acts, keys=((*before, *after),))


def _clean(keys: tuple[Key, ...], tick: int) -> list[Key]:
    """Cut a path short at a tick."""
    before = [key for key in keys if key.tick < tick]
    return [*before, Key(tick, *position_at(keys, tick))]


def _brief(cast: _Cast, start: int, stop: int, cells: list[tuple[int, int]]) -> list[Thing]:
    """A thing that is there for half a second to a second."""
    draw, look = cast.draw, cast.look()
    if look is None or not cells:
        return []
    shape, colour = look
    pattern, size = draw.choice(PATTERNS), draw.choice(("medium", "large"))
    length = draw.between(500, 1000)
    tick = draw.between(start + 700, stop - 700 - length)
    place = _near(draw, cells.pop(), size)
    keys = (Key(tick, *place), Key(tick + length, *place))
    acts = (Act(tick, tick + length, "still"),)
    return [
        Thing(shape, pattern, size, ((tick, colour),), tick, tick + length, True, acts, (keys,))
    ]
