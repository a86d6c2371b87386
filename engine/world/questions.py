"""Multiple-choice questions about a clip, with hard distractors and the times that answer them."""

from dataclasses import dataclass

from engine.world.captions import DOES, NUMBERS, name_act, name_thing, plural
from engine.world.draw import Draw
from engine.world.scene import TICKS, Shot, Thing, WorldQuestion, WorldScript
from engine.world.splits import (
    COLOURS,
    MOTIONS,
    PATTERNS,
    SHAPES,
    Split,
    colours_of,
    motions_of,
)

CHOICES = 4
Spans = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class WorldEvent:
    """Something that happens at one tick."""

    tick: int
    text: str
    subject: Thing
    shot: Shot
    lasting: bool  # what it leads to can be seen from then on


def make_questions(script: WorldScript) -> tuple[WorldQuestion, ...]:
    """Ask one question of every kind that a clip gives ground for."""
    draw = Draw("questions", script.seed, script.split)
    makers = (_colour, _shape, _count, _pattern, _motion, _first, _after, _brief, _brief_colour)
    return tuple(made for maker in makers if (made := maker(script, draw)))


def the(thing: Thing, tick: int) -> str:
    """Refer to a thing of a clip: `the red star`, `the red stars`."""
    if thing.count == 1:
        return name_thing(thing, tick, article="the", full=False)
    return f"the {thing.colour_at(tick)} {plural(thing.shape)}"


def events_of(script: WorldScript) -> list[WorldEvent]:
    """Return what happens in a clip, in order; brief things apart."""
    found = []
    for shot in script.shots:
        for thing in (thing for thing in shot.things if not thing.brief):
            s = "" if thing.count > 1 else "s"
            name, es = the(thing, thing.start), "es" if s else ""
            if thing.start > shot.start:
                found.append(WorldEvent(thing.start, f"{name} appear{s}", thing, shot, True))
            if thing.stop < shot.stop:
                last = the(thing, thing.stop - 1)
                found.append(WorldEvent(thing.stop, f"{last} vanish{es}", thing, shot, False))
            found += [
                WorldEvent(tick, f"{name} turn{s} {colour}", thing, shot, True)
                for tick, colour in thing.colours[1:]
            ]
    return sorted(found, key=lambda event: event.tick)


def lasting_things(script: WorldScript) -> list[tuple[Shot, Thing]]:
    """Return all things that are not there for a moment only."""
    return [(shot, thing) for shot in script.shots for thing in shot.things if not thing.brief]


def _ask(
    kind: str, text: str, right: str, wrong: list[str], spans: list[tuple[int, int]], draw: Draw
) -> WorldQuestion | None:
    """Mix the right choice with the first distractors that differ from it, if there are enough."""
    others = [choice for choice in dict.fromkeys(wrong) if choice != right][: CHOICES - 1]
    if len(others) < CHOICES - 1:
        return None
    choices = draw.sample([right, *others], CHOICES)
    seconds: Spans = tuple((start / TICKS, stop / TICKS) for start, stop in spans)
    return WorldQuestion(kind, text, tuple(choices), choices.index(right), seconds)


def _mixed(present: list[str], names: tuple[str, ...], draw: Draw) -> list[str]:
    """Distractors: what the clip shows elsewhere first, then anything."""
    return draw.sample(present, len(present)) + draw.sample(names, len(names))


def fair(split: Split, shape: str, colour: str) -> bool:
    """Whether a pair may be a distractor.

    In training only pairs that are true elsewhere in training may, else the text alone would tell
    what is false, and on the held-out pairs that habit would be wrong every time.
    """
    return split != "train" or colour in colours_of(split, shape)


def _colour(script: WorldScript, draw: Draw) -> WorldQuestion | None:
    things = [(shot, thing) for shot, thing in lasting_things(script) if len(thing.colours) == 1]
    if not things:
        return None
    _, thing = draw.choice(things)
    noun = thing.shape if thing.count == 1 else plural(thing.shape)
    present = [name for shot in script.shots for other in shot.things for _, name in other.colours]
    wrong = _mixed(present, tuple(COLOURS), draw)
    wrong = [name for name in wrong if fair(script.split, thing.shape, name)]
    text = f"What colour {'is' if thing.count == 1 else 'are'} the {noun}?"
    spans = [(thing.start, thing.stop)]
    return _ask("colour", text, thing.colours[0][1], wrong, spans, draw)


def _shape(script: WorldScript, draw: Draw) -> WorldQuestion | None:
    things = [pair for pair in lasting_things(script) if pair[1].count == 1]
    if not things:
        return None
    _, thing = draw.choice(things)
    start, colour = draw.choice(thing.colours)
    stop = thing.stop if (start, colour) == thing.colours[-1] else thing.colours[1][0]
    present = [other.shape for shot in script.shots for other in shot.things]
    text = f"What shape is the {colour} object?"
    wrong = [name for name in _mixed(present, SHAPES, draw) if fair(script.split, name, colour)]
    return _ask("shape", text, thing.shape, wrong, [(max(start, thing.start), stop)], draw)


def _count(script: WorldScript, draw: Draw) -> WorldQuestion | None:
    things = [pair for pair in lasting_things(script) if pair[1].count > 1]
    if not things or draw.chance(10):
        things = lasting_things(script)
    if not things:
        return None
    _, thing = draw.choice(things)
    if thing.count == 1 and draw.chance(60):
        return None
    text = f"How many {plural(thing.shape)} are there?"
    wrong = draw.sample(NUMBERS[1:5], 4)
    spans = [(thing.start, thing.stop)]
    return _ask("count", text, NUMBERS[thing.count], wrong, spans, draw)


def _pattern(script: WorldScript, draw: Draw) -> WorldQuestion | None:
    things = lasting_things(script)
    if not things or draw.chance(50):
        return None
    _, thing = draw.choice(things)
    noun = thing.shape if thing.count == 1 else plural(thing.shape)
    text = f"What pattern {'does' if thing.count == 1 else 'do'} the {noun} have?"
    wrong = draw.sample(PATTERNS, 4)
    return _ask("pattern", text, thing.pattern, wrong, [(thing.start, thing.stop)], draw)


def _doings(script: WorldScript, thing: Thing, draw: Draw) -> list[str]:
    """What else a thing might be said to do: its own other acts, those of others, then any."""
    things = lasting_things(script)
    own = [act.motion for act in thing.acts]
    others = [act.motion for _, other in things for act in other.acts]
    names = own + draw.sample(others, len(others)) + draw.sample(("still", *MOTIONS), 11)
    if script.split == "train":
        names = [name for name in names if name in ("still", *motions_of("train", thing.shape))]
    targets = [the(other, other.start) for _, other in things if other.shape != thing.shape]
    told = []
    for name in names:
        if name not in ("collide", "chase"):
            told.append(DOES[name][0])
        elif targets:
            told.append(f"{DOES[name][0]} {draw.choice(targets)}")
    return told


def _motion(script: WorldScript, draw: Draw) -> WorldQuestion | None:
    things = [
        (shot, thing)
        for shot, thing in lasting_things(script)
        if thing.count == 1 and len(thing.acts) == 1
    ]
    if not things:
        return None
    moving = [pair for pair in things if pair[1].acts[0].motion != "still"]
    shot, thing = draw.choice(moving if moving and draw.chance(80) else things)
    right = name_act(shot, thing, thing.acts[0])
    text = f"What does {the(thing, thing.start)} do?"
    return _ask(
        "motion", text, right, _doings(script, thing, draw), [(thing.start, thing.stop)], draw
    )


def _first(script: WorldScript, draw: Draw) -> WorldQuestion | None:
    events = events_of(script)
    if len(events) < 2 or events[1].tick - events[0].tick < 700:
        return None
    never = []
    for _, thing in lasting_things(script):
        s, es = ("s", "es") if thing.count == 1 else ("", "")
        name = the(thing, thing.start)
        never += [f"{name} {word}" for word in (f"vanish{es}", f"appear{s}")]
    happened = [event.text for event in events]
    never = [text for text in draw.sample(never, len(never)) if text not in happened]
    first = events[0]
    if first.lasting:
        span = (first.tick, min(first.tick + 1500, script.duration))
    else:
        span = (max(first.tick - 1500, 0), first.tick)
    return _ask("first", "What happens first?", first.text, happened + never, [span], draw)


def _after(script: WorldScript, draw: Draw) -> WorldQuestion | None:
    found = [
        (shot, thing, event)
        for shot, thing in lasting_things(script)
        if thing.count == 1 and len(thing.acts) == 2
        for event in events_of(script)
        if event.tick == thing.acts[1].start and event.lasting and event.subject is not thing
    ]
    if not found:
        return None
    shot, thing, event = draw.choice(found)
    act = thing.acts[1]
    text = f"What does {the(thing, act.start)} do after {event.text}?"
    wrong = _doings(script, thing, draw)
    right = name_act(shot, thing, act)
    return _ask("after", text, right, wrong, [(act.start, min(act.stop, thing.stop))], draw)


def _brief_of(script: WorldScript, draw: Draw) -> tuple[Shot, Thing] | None:
    found = [(shot, thing) for shot in script.shots for thing in shot.things if thing.brief]
    return draw.choice(found) if found else None


def _brief(script: WorldScript, draw: Draw) -> WorldQuestion | None:
    found = _brief_of(script, draw)
    if found is None:
        return None
    _, thing = found
    colour = thing.colours[0][1]
    pairs = [
        (draw.choice(tuple(COLOURS)), thing.shape),
        (colour, draw.choice(SHAPES)),
        *((draw.choice(tuple(COLOURS)), draw.choice(SHAPES)) for _ in range(40)),
    ]
    shown = {
        (name, other.shape)
        for shot in script.shots
        for other in shot.things
        for _, name in other.colours
    }
    wrong = [
        _named(name, shape)
        for name, shape in pairs
        if (name, shape) not in shown and fair(script.split, shape, name)
    ]
    right = _named(colour, thing.shape)
    spans = [(thing.start, thing.stop)]
    return _ask("brief", "What is there only for a moment?", right, wrong, spans, draw)


def _brief_colour(script: WorldScript, draw: Draw) -> WorldQuestion | None:
    found = _brief_of(script, draw)
    if found is None or draw.chance(50):
        return None
    _, thing = found
    present = [name for shot in script.shots for other in shot.things for _, name in other.colours]
    wrong = _mixed(present, tuple(COLOURS), draw)
    wrong = [name for name in wrong if fair(script.split, thing.shape, name)]
    text = f"What colour is the {thing.shape} that is there only for a moment?"
    return _ask("brief", text, thing.colours[0][1], wrong, [(thing.start, thing.stop)], draw)


def _named(colour: str, shape: str) -> str:
    return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {shape}"
