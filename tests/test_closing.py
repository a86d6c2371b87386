"""Whatever is closed at the end of a `with` goes by one class."""

import pytest

import engine
from engine.cage.sandbox import Sandbox
from engine.closing import Closing
from engine.storage.store import Store


class Held(Closing):
    """Counts how often it was closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_it_closes_once_and_hides_no_error() -> None:
    held = Held()
    with held as same:
        assert same is held
        assert held.closed == 0
    assert held.closed == 1
    with pytest.raises(ValueError, match="of the block"), held:
        raise ValueError("of the block")
    assert held.closed == 2


def test_all_that_hold_something_go_by_it() -> None:
    for kind in (engine.Engine, engine.Library, engine.Client, Sandbox, Store):
        assert issubclass(kind, Closing)
        assert kind.__exit__ is Closing.__exit__
        assert kind.close is not Closing.close
