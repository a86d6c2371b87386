"""What is said of a clip: the whole, and each span over which nothing changes but positions."""

from itertools import pairwise

from engine.world.draw import Draw
from engine.world.scene import TICKS, Act, Backdrop, Shot, Thing, WorldScript, WorldSpan

NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
DOES = {
    "still": ("stays still", "stay still", "staying still"),
    "left": ("moves left", "move left", "moving left"),
    "right": ("moves right", "move right", "moving right"),
    "up": ("moves up", "move up", "moving up"),
    "down": ("moves down", "move down", "moving down"),
    "circle": ("moves in a circle", "move in a circle", "moving in a circle"),
    "bounce": ("bounces", "bounce", "bouncing"),
    "grow": ("grows", "grow", "growing"),
    "shrink": ("shrinks", "shrink", "shrinking"),
    "collide": ("collides with", "collide with", "colliding with"),
    "chase": ("chases", "chase", "chasing"),
}
CAMERAS = {
    "fixed": "",
    "left": "the camera pans left",
    "right": "the camera pans right",
    "in": "the camera zooms in",
    "out": "the camera zooms out",
    "shake": "the camera shakes",
}
LIGHTS = {
    "steady": "",
    "dims": "the light dims",
    "brightens": "the light brightens",
    "flickers": "the light flickers",
}
SHORTEST = 400  # ticks; shorter spans are not described
MENTIONED = 3


def plural(shape: str) -> str:
    """Return the name of several of a shape."""
    return f"{shape}es" if shape.endswith(("s", "x")) else f"{shape}s"


def name_thing(thing: Thing, tick: int, *, article: str = "a", full: bool = True) -> str:
    """Name a thing as it looks at a tick: `a small striped red star`, `three large …`."""
    looks = f"{thing.size} {thing.pattern} " if full else ""
    colour = thing.colour_at(tick)
    if thing.count > 1:
        return f"{NUMBERS[thing.count]} {looks}{colour} {plural(thing.shape)}"
    words = f"{looks}{colour} {thing.shape}"
    return f"{'an' if article == 'a' and words[0] in 'aeiou' else article} {words}"


def name_act(shot: Shot, thing: Thing, act: Act, *, form: int | None = None) -> str:
    """Say what is done; `form` 0, 1, 2: `moves`, `move`, `moving`; by default as the count asks."""
    verb = DOES[act.motion][(thing.count > 1) if form is None else form]
    if act.other < 0:
        return verb
    other = shot.things[act.other]
    return f"{verb} {name_thing(other, act.start, article='the', full=False)}"


def name_backdrop(backdrop: Backdrop) -> str:
    """Say what is behind: `in front of a sandy brick wall`."""
    kind, tone = backdrop.kind, backdrop.tone
    if kind in ("street", "hills", "sea"):
        where = {"street": "on a street", "hills": "in the hills", "sea": "at the sea"}[kind]
        return f"{where} {'by day' if tone == 'day' else 'at dusk'}"
    if kind == "night sky":
        return "under a night sky"
    word = {"gravel": "on", "tiled floor": "on", "grid": "on", "mist": "in"}
    article = "" if kind in ("gravel", "mist") else "a "
    return f"{word.get(kind, 'in front of')} {article}{tone} {kind}"


def tell_thing(shot: Shot, thing: Thing) -> str:
    """Tell a thing's whole part in a shot."""
    several = thing.count > 1
    steps = [name_act(shot, thing, act) for act in thing.acts]
    if thing.start > shot.start:
        steps.insert(0, "appear" if several else "appears")
    for tick, colour in thing.colours[1:]:
        steps.insert(
            sum(act.stop <= tick for act in thing.acts) + 1,
            f"{'turn' if several else 'turns'} {colour}",
        )
    if thing.stop < shot.stop:
        steps.append("vanish" if several else "vanishes")
    return f"{name_thing(thing, thing.start)} {' and then '.join(steps)}"


def join(parts: list[str]) -> str:
    """List parts as English does."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def tell_shot(shot: Shot, mentioned: int = MENTIONED) -> str:
    """Tell a shot: its first things, where it is and what the camera does."""
    lasting = [thing for thing in shot.things if not thing.brief][:mentioned]
    parts = [tell_thing(shot, thing) for thing in lasting] or ["nothing"]
    told = f"{join(parts)} {name_backdrop(shot.backdrop)}"
    return f"{told}, {CAMERAS[shot.camera]}" if CAMERAS[shot.camera] else told


def tell_clip(script: WorldScript) -> str:
    """Caption a whole clip."""
    mentioned = (MENTIONED, 2, 1)[len(script.shots) - 1]
    told = ", then ".join(tell_shot(shot, mentioned) for shot in script.shots)
    return f"{told}, {LIGHTS[script.light]}" if LIGHTS[script.light] else told


def boundaries(shot: Shot) -> list[int]:
    """Ticks at which something in a shot changes, its ends included."""
    ticks = {shot.start, shot.stop}
    for thing in shot.things:
        ticks |= {thing.start, thing.stop}
        ticks |= {act.start for act in thing.acts} | {tick for tick, _ in thing.colours}
    return sorted(tick for tick in ticks if shot.start <= tick <= shot.stop)


def tell_moment(shot: Shot, tick: int, draw: Draw | None = None) -> str:
    """Describe what is there at a tick; with `draw`, as somebody might who leaves things out."""
    shown = [thing for thing in shot.things if thing.shown_at(tick)]
    shown.sort(key=lambda thing: not thing.brief)
    if draw is not None:
        shown = draw.sample(shown, draw.between(1, MENTIONED))
    parts = []
    for thing in shown[:MENTIONED]:
        words = name_thing(thing, tick, full=draw is None or draw.chance(60))
        if draw is None or draw.chance(70):
            words += f" {name_act(shot, thing, thing.act_at(tick), form=2)}"
        parts.append(words)
    if not parts:
        return f"nothing {name_backdrop(shot.backdrop)}"
    told = join(parts)
    return f"{told} {name_backdrop(shot.backdrop)}" if draw is None or draw.chance(60) else told


def make_spans(script: WorldScript) -> tuple[WorldSpan, ...]:
    """Describe every span of a clip."""
    spans = []
    for shot in script.shots:
        ticks = boundaries(shot)
        for start, stop in pairwise(ticks):
            if stop - start >= SHORTEST:
                told = tell_moment(shot, (start + stop) // 2)
                spans.append(WorldSpan(start / TICKS, stop / TICKS, told))
    return tuple(spans)
