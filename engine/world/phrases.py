"""Short true phrases about a moment with false ones beside them, to learn words from."""

from dataclasses import dataclass

from engine.world.captions import DOES, name_act, name_thing, plural
from engine.world.draw import Draw
from engine.world.scene import Shot, Thing
from engine.world.script import ALONE
from engine.world.splits import PATTERNS, SHAPES, SIZES, colours_of, motions_of

PHRASES = 4


@dataclass(frozen=True, slots=True)
class Phrases:
    """A true text, three that one word makes false, and when the truth holds (ticks)."""

    texts: tuple[str, ...]
    start: int
    stop: int


def make_phrases(shot: Shot, tick: int, draw: Draw) -> Phrases | None:
    """Say something true about one thing shown at a tick, then three false things.

    The shot is one for training. What is false in it is true elsewhere in training, so the texts
    alone tell nothing.
    """
    shown = [thing for thing in shot.things if thing.shown_at(tick)]
    if not shown:
        return None
    thing = draw.choice(shown)
    act, colour = thing.act_at(tick), thing.colour_at(tick)
    full, doing = draw.chance(50), act.other < 0 and draw.chance(50)
    told = name_thing(thing, tick, full=full)
    shapes = [shape for shape in SHAPES if colour in colours_of("train", shape)]
    swaps = [
        (colour, colours_of("train", thing.shape)),
        (_noun(thing.shape, thing), tuple(_noun(shape, thing) for shape in shapes)),
    ]
    if full:
        swaps += [(thing.size, tuple(SIZES)), (thing.pattern, PATTERNS)]
    if doing:
        told = f"{told} {name_act(shot, thing, act, form=2)}"
        doings = [name for name in motions_of("train", thing.shape) if name in ALONE]
        swaps += [(DOES[act.motion][2], tuple(DOES[name][2] for name in ("still", *doings)))] * 2
    looks = {f"{other.colour_at(tick)} {_noun(other.shape, other)}" for other in shown}
    false = _falsify(told, swaps, looks, draw)
    colours = [*thing.colours, (thing.stop, "")]
    turn = next(at for at, _ in reversed(colours[:-1]) if at <= tick)
    end = next(at for at, _ in colours if at > tick)
    start = max(thing.start, turn, act.start if doing else 0)
    return Phrases((told, *false), start, min(thing.stop, end, act.stop if doing else end))


def _noun(shape: str, thing: Thing) -> str:
    return plural(shape) if thing.count > 1 else shape


def _falsify(
    told: str, swaps: list[tuple[str, tuple[str, ...]]], looks: set[str], draw: Draw
) -> list[str]:
    """Swap one word at a time; what then names something else that is shown is not false."""
    false: list[str] = []
    while len(false) < PHRASES - 1:
        old, names = draw.choice(swaps)
        phrase = _swap(told, old, draw.choice([name for name in names if name != old]))
        if phrase not in false and not any(look in phrase for look in looks if look not in told):
            false.append(phrase)
    return false


def _swap(words: str, old: str, new: str) -> str:
    """Replace one attribute, and the article where the next word asks for another."""
    swapped = words.replace(old, new, 1)
    if swapped.startswith(("a ", "an ")):
        rest = swapped.split(" ", 1)[1]
        return f"{'an' if rest[0] in 'aeiou' else 'a'} {rest}"
    return swapped
