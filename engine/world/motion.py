"""Paths of things as keys on a grid of integers."""

from engine.world.draw import Draw
from engine.world.scene import UNITS, Key

# round(4096 * sin(2 pi i / 24)), written out so that no platform's sine is asked
SINE = (
    0, 1060, 2048, 2896, 3547, 3956, 4096, 3956, 3547, 2896, 2048, 1060,
    0, -1060, -2048, -2896, -3547, -3956, -4096, -3956, -3547, -2896, -2048, -1060,
)  # fmt: skip
PULSES = {"grow": (70, 150), "shrink": (150, 70)}  # percent of the radius
STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


def make_keys(
    motion: str, start: int, stop: int, at: tuple[int, int, int], draw: Draw
) -> list[Key]:
    """Keys over `[start, stop]` of one thing that starts `at` (x, y, radius)."""
    x, y, radius = at
    if motion in STEPS:
        return _straight(STEPS[motion], start, stop, at, draw.between(900, 1700))
    if motion == "circle":
        return _circle(start, stop, at, draw)
    if motion == "bounce":
        return _bounce(start, stop, at, draw)
    if motion in PULSES:
        return _pulses(PULSES[motion], start, stop, at, draw.between(1600, 2400))
    return [Key(start, x, y, radius), Key(stop, x, y, radius)]


def _pulses(
    scales: tuple[int, int], start: int, stop: int, at: tuple[int, int, int], period: int
) -> list[Key]:
    """Grow or shrink over each period, and begin anew."""
    x, y, radius = at
    keys = []
    for tick in range(start, stop, period):
        keys.append(Key(tick, x, y, radius * scales[0] // 100))
        keys.append(Key(tick + period - 1, x, y, radius * scales[1] // 100))
    return keys


def _straight(
    step: tuple[int, int], start: int, stop: int, at: tuple[int, int, int], speed: int
) -> list[Key]:
    """Move at `speed` units a second; what leaves on one side comes back on the other."""
    x, y, radius = at
    low, high = -radius - 80, UNITS + radius + 80
    keys, tick = [Key(start, x, y, radius)], start
    while tick < stop:
        place = x if step[0] else y
        room = (high - place) if step[0] + step[1] > 0 else (place - low)
        spent = max(1, room * 1000 // speed)
        taken = min(spent, stop - tick)
        x += step[0] * speed * taken // 1000
        y += step[1] * speed * taken // 1000
        tick += taken
        keys.append(Key(tick, x, y, radius))
        if taken == spent and tick + 1 < stop:
            x, y = x - step[0] * (high - low), y - step[1] * (high - low)
            tick += 1
            keys.append(Key(tick, x, y, radius))
    return keys


def _circle(start: int, stop: int, at: tuple[int, int, int], draw: Draw) -> list[Key]:
    x, y, radius = at
    reach, period = draw.between(520, 820), draw.between(2600, 4200)
    side = 1 if x < UNITS // 2 else -1
    centre_x, sense = x + side * reach, draw.choice((1, -1))
    keys = []
    for index in range((stop - start) * 24 // period + 2):
        angle = sense * index
        keys.append(
            Key(
                tick=start + index * period // 24,
                x=centre_x - side * reach * SINE[(angle + 6) % 24] // 4096,
                y=y + reach * SINE[angle % 24] // 4096,
                radius=radius,
            )
        )
    return keys


def _bounce(start: int, stop: int, at: tuple[int, int, int], draw: Draw) -> list[Key]:
    x, y, radius = at
    height, period = draw.between(800, 1100), draw.between(900, 1300)
    sign = -1 if y > UNITS // 2 else 1
    keys = []
    for index in range((stop - start) * 4 // period + 2):
        lift = (0, 75, 100, 75)[index % 4] * height // 100
        keys.append(Key(start + index * period // 4, x, y + sign * lift, radius))
    return keys


def collide_keys(
    start: int, stop: int, here: tuple[int, int, int], there: tuple[int, int, int], draw: Draw
) -> tuple[list[Key], list[Key]]:
    """Two things that run into each other, bounce off and come again."""
    half, tick = draw.between(900, 1400), start
    (ax, ay, ar), (bx, by, br) = here, there
    sign = 1 if bx > ax else -1
    middle = (ax + bx) // 2
    first, second = [], []
    while True:
        first += [Key(tick, ax, ay, ar), Key(tick + half, middle - sign * ar, ay, ar)]
        second += [Key(tick, bx, by, br), Key(tick + half, middle + sign * br, by, br)]
        tick += 2 * half
        if tick >= stop:
            first.append(Key(tick, ax, ay, ar))
            second.append(Key(tick, bx, by, br))
            return first, second


def chase_keys(leader: tuple[Key, ...], lag: int, radius: int) -> tuple[Key, ...]:
    """Follow another thing's path, `lag` ticks behind it."""
    return tuple(Key(key.tick + lag, key.x, key.y, radius) for key in leader)
