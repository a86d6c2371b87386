"""Pixels of a clip at any instant and size, in integers, so the same bytes on every platform."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from engine.world.backdrops import CANVAS, texture
from engine.world.draw import Draw
from engine.world.scene import TICKS, UNITS, Clip, Shot, Thing, WorldScript, position_at
from engine.world.sprites import ghost, sprite

Image = npt.NDArray[np.uint8]
Canvas = npt.NDArray[np.uint16]
TRAIL = ((450, 40), (300, 66), (150, 100))  # ticks ago, coverage of 256
SHAKE = 90  # ticks between two jolts of a shaken camera


def render_at(clip: Clip, seconds: float, size: int = 224) -> Image:
    """Return the frame `[size, size, 3]` shown at an instant of a clip."""
    planes = render_planes(clip.script, round(seconds * TICKS), size)
    image = np.empty((size, size, 3), dtype=np.uint8)
    for channel in range(3):
        image[:, :, channel] = planes[channel]
    return image


def render_frames(clip: Clip, size: int = 224) -> Iterator[Image]:
    """All frames of a clip in order, `fps` a second."""
    for number in range(round(clip.duration_seconds * clip.fps)):
        yield render_at(clip, number / clip.fps, size)


def instants(clip: Clip, fps: float) -> npt.NDArray[np.float64]:
    """Return the seconds 0, 1 / fps, … of a clip."""
    seconds: npt.NDArray[np.float64] = np.arange(int(clip.duration_seconds * fps)) / fps
    return seconds


def render_sampled(clip: Clip, fps: float, size: int) -> Image:
    """Return the frames `[F, 3, size, size]` at a clip's instants."""
    ticks = [round(at * TICKS) for at in instants(clip, fps)]
    return np.stack([render_planes(clip.script, tick, size) for tick in ticks])


def render_planes(script: WorldScript, tick: int, size: int) -> Image:
    """Return the frame `[3, size, size]` at a tick."""
    shot = script.shot_at(tick)
    view = camera_at(shot, tick)
    canvas = _look(texture(shot.backdrop, size * 3 // 2), view, size)
    for thing in shot.things:
        if thing.shown_at(tick):
            _draw(canvas, thing, tick, view)
    return _sense(script, canvas, tick)


def camera_at(shot: Shot, tick: int) -> tuple[int, int, int]:
    """Return where the camera looks, (x, y) off the middle, and how near, in 1024ths."""
    done = (tick - shot.start) * 1024 // (shot.stop - shot.start)
    if shot.camera in ("left", "right"):
        sign = 1 if shot.camera == "right" else -1
        return sign * (done - 512) * 1300 // 1024, 0, 1024
    if shot.camera in ("in", "out"):
        done = done if shot.camera == "in" else 1024 - done
        return 0, 0, 860 + done * 420 // 1024
    if shot.camera == "shake":
        index, part = divmod(tick, SHAKE)
        a, b = _jolt(shot.seed, index), _jolt(shot.seed, index + 1)
        x, y = (p + (q - p) * part // SHAKE for p, q in zip(a, b, strict=True))
        return x, y, 1024
    return 0, 0, 1024


@lru_cache(maxsize=256)
def _jolt(seed: int, index: int) -> tuple[int, int]:
    draw = Draw(seed, index)
    return draw.between(-110, 110), draw.between(-110, 110)


def _look(canvas: Image, view: tuple[int, int, int], size: int) -> Canvas:
    """Cut the camera's view `[3, size, size]` out of a backdrop."""
    x, y, near = view
    side = canvas.shape[1]
    if near == 1024:
        top, left = ((CANVAS - UNITS) // 2 + at for at in (y, x))
        top, left = top * side // CANVAS, left * side // CANVAS
        return canvas[:, top : top + size, left : left + size].astype(np.uint16)
    steps = (np.arange(size, dtype=np.int64) * 2 + 1) * UNITS // (2 * size) - UNITS // 2
    places = np.clip((steps * 1024 // near + CANVAS // 2) * side // CANVAS, 0, side - 1)
    return canvas.take(places, axis=1).take(places, axis=2).astype(np.uint16)


def _draw(canvas: Canvas, thing: Thing, tick: int, view: tuple[int, int, int]) -> None:
    """Paint a thing's objects with the trail of where they were, and how small, in the last time.

    A trail lies behind its object, except where the object has grown: that shows as dark echoes.
    """
    colour, size = thing.colour_at(tick), canvas.shape[1]
    for keys in thing.keys:
        here = position_at(keys, tick)
        side, left, top = place(here, view, size)
        body = sprite(thing.shape, thing.pattern, colour, side), left, top
        echoes = []
        for ago, strength in TRAIL:
            then = tick - ago
            there = position_at(keys, then)
            if thing.start > then or not _trails(there, here):
                continue
            side, left, top = place(there, view, size)
            if there[2] < here[2]:
                dark = "black" if colour != "black" else "white"
                echoes.append((ghost(thing.shape, dark, side, strength), left, top))
            else:
                _paint(canvas, ghost(thing.shape, colour, side, strength), left, top)
        _paint(canvas, *body)
        for echo in echoes:
            _paint(canvas, *echo)


def _trails(there: tuple[int, int, int], here: tuple[int, int, int]) -> bool:
    """Whether an object moved or changed its size, but did not jump."""
    moved = abs(there[0] - here[0]) + abs(there[1] - here[1])
    swelled = abs(there[2] - here[2])
    return (60 < moved < UNITS // 2 or swelled > 12) and 3 * swelled < here[2]


def place(at: tuple[int, int, int], view: tuple[int, int, int], size: int) -> tuple[int, int, int]:
    """Side, left and top of an object in pixels."""
    x, y, near = view
    radius = at[2] * 1100 // 1000 * near // 1024  # the masks leave a margin for the outline
    middle_x = (at[0] - UNITS // 2 - x) * near // 1024 + UNITS // 2
    middle_y = (at[1] - UNITS // 2 - y) * near // 1024 + UNITS // 2
    side = max(3, min(2 * radius * size // UNITS, 256))
    return side, middle_x * size // UNITS - side // 2, middle_y * size // UNITS - side // 2


def _paint(
    canvas: Canvas,
    picture: tuple[Canvas, Canvas],
    left: int,
    top: int,
) -> None:
    paint, rest = picture
    side, size = paint.shape[1], canvas.shape[1]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, size), min(top + side, size)
    if x0 >= x1 or y0 >= y1:
        return
    cut = (slice(None), slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    part = canvas[:, y0:y1, x0:x1]
    part *= rest[cut]
    part += paint[cut]
    part >>= 8


def _sense(script: WorldScript, canvas: Canvas, tick: int) -> Image:
    """Apply the light of the moment and the sensor's noise."""
    gain = light_at(script, tick)
    if gain != 256:
        canvas *= np.uint16(gain)
        canvas >>= 8
    if script.noise:
        size = canvas.shape[1]
        draw = Draw(script.seed, tick)
        top, left = draw.below(256), draw.below(256)
        noisy = canvas.view(np.int16)
        noisy += _noise(script.noise, size + 256)[top : top + size, left : left + size]
        np.maximum(noisy, 0, out=noisy)
        np.minimum(noisy, 255, out=noisy)
    return canvas.astype(np.uint8)


def light_at(script: WorldScript, tick: int) -> int:
    """Return the gain of the light at a tick, in 256ths."""
    done = min(max(tick * 256 // script.duration, 0), 256)
    if script.light == "dims":
        return 256 - done * 105 // 256
    if script.light == "brightens":
        return 150 + done * 106 // 256
    if script.light == "flickers":
        return 256 if (tick // 700) % 3 else 186
    return 256


@lru_cache(maxsize=8)
def _noise(amplitude: int, side: int) -> npt.NDArray[np.int16]:
    """Fixed bell-shaped noise `[side, side]` around 0, from a hash."""
    mixed = np.arange(side * side, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(29)
    lanes = _lane(mixed, 0) + _lane(mixed, 1) + _lane(mixed, 2) + _lane(mixed, 3)
    return ((lanes - 510) * amplitude // 148).astype(np.int16).reshape(side, side)


def _lane(mixed: npt.NDArray[np.uint64], lane: int) -> npt.NDArray[np.int64]:
    return ((mixed >> np.uint64(8 * lane)) & np.uint64(255)).astype(np.int64)
