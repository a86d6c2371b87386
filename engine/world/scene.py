"""The script of a clip: what is where, when; times are ticks of a millisecond, lengths units.

A frame is 4096 units wide and high; everything is an integer, so a script means the same pixels
everywhere.
"""

from bisect import bisect_right
from dataclasses import dataclass

from engine.world.splits import Split

UNITS = 4096
TICKS = 1000  # per second


@dataclass(frozen=True, slots=True)
class Key:
    """Where a thing is at one tick; between keys it moves in a straight line."""

    tick: int
    x: int
    y: int
    radius: int


@dataclass(frozen=True, slots=True)
class Act:
    """What a thing does over `[start, stop)`; `other` is the thing it does it to."""

    start: int
    stop: int
    motion: str
    other: int = -1


@dataclass(frozen=True, slots=True)
class Thing:
    """One or more equal objects that do the same; `keys` has a path for each."""

    shape: str
    pattern: str
    size: str
    colours: tuple[tuple[int, str], ...]  # (from tick, colour)
    start: int
    stop: int  # shown over [start, stop)
    brief: bool
    acts: tuple[Act, ...]
    keys: tuple[tuple[Key, ...], ...]

    @property
    def count(self) -> int:
        """How many equal objects this is."""
        return len(self.keys)

    def colour_at(self, tick: int) -> str:
        """Return the colour at a tick."""
        return next(name for start, name in reversed(self.colours) if start <= tick)

    def act_at(self, tick: int) -> Act:
        """Return what is being done at a tick."""
        return next((act for act in self.acts if tick < act.stop), self.acts[-1])

    def shown_at(self, tick: int) -> bool:
        """Whether it is there at a tick."""
        return self.start <= tick < self.stop


def position_at(keys: tuple[Key, ...], tick: int) -> tuple[int, int, int]:
    """x, y and radius at a tick."""
    after = bisect_right(keys, tick, key=_tick)
    if after == 0:
        return keys[0].x, keys[0].y, keys[0].radius
    if after == len(keys):
        return keys[-1].x, keys[-1].y, keys[-1].radius
    a, b = keys[after - 1], keys[after]
    done, span = tick - a.tick, b.tick - a.tick
    return (
        a.x + (b.x - a.x) * done // span,
        a.y + (b.y - a.y) * done // span,
        a.radius + (b.radius - a.radius) * done // span,
    )


def _tick(key: Key) -> int:
    return key.tick


@dataclass(frozen=True, slots=True)
class Backdrop:
    """What is behind the things."""

    kind: str
    tone: str
    seed: int


@dataclass(frozen=True, slots=True)
class Shot:
    """Things before a backdrop, seen by one camera over `[start, stop)`."""

    start: int
    stop: int
    backdrop: Backdrop
    camera: str  # fixed, left, right, in, out, shake
    things: tuple[Thing, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class WorldSpan:
    """A stretch of a clip over which nothing changes but positions, described."""

    start_seconds: float
    stop_seconds: float
    caption: str


@dataclass(frozen=True, slots=True)
class WorldQuestion:
    """A multiple-choice question; `spans` are the times that answer it."""

    kind: str
    text: str
    choices: tuple[str, ...]
    answer: int
    spans: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class WorldScript:
    """All that decides a clip's pixels."""

    split: Split
    seed: int
    redundancy: int  # percent: 100 is almost still
    duration: int
    shots: tuple[Shot, ...]
    light: str  # steady, dims, brightens, flickers
    noise: int  # amplitude of the sensor noise, in grey levels

    def shot_at(self, tick: int) -> Shot:
        """Return the shot that is on at a tick; before and after, the first and the last."""
        return next((shot for shot in self.shots if tick < shot.stop), self.shots[-1])


@dataclass(frozen=True, slots=True)
class Clip:
    """A script with everything said about it."""

    name: str
    script: WorldScript
    fps: float
    caption: str
    spans: tuple[WorldSpan, ...]
    questions: tuple[WorldQuestion, ...]

    @property
    def duration_seconds(self) -> float:
        """Length in seconds."""
        return self.script.duration / TICKS

    @property
    def redundancy(self) -> float:
        """0 is a busy hand-held view with cuts, 1 an almost still one."""
        return self.script.redundancy / 100

    @property
    def seed(self) -> int:
        """The seed that it was made from."""
        return self.script.seed
