"""The attacks: each takes a seed and an empty folder, and says in a word how it was met.

An attack that finds something wrong raises AssertionError; the seed repeats it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Body = Callable[[int, Path], str]
ATTACKS: dict[str, "Attack"] = {}


@dataclass(frozen=True, slots=True)
class Attack:
    """Something done to the engine many times over."""

    name: str
    body: Body
    count: int  # times in `make torture`
    few: int  # times with the tests


def attack(name: str, *, count: int, few: int) -> Callable[[Body], Body]:
    """Enter an attack under a name."""

    def enter(body: Body) -> Body:
        assert name not in ATTACKS
        ATTACKS[name] = Attack(name, body, count, few)
        return body

    return enter
