"""The two worlds, each made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oracle.words import VIEWS
from tests.oracle.world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A store whose rows are all exact, and its twin."""
    made = World(tmp_path_factory.mktemp("world") / "data")
    made.add_views(VIEWS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def approximate_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A store most of whose rows are a little off; its twin knows the exact ones."""
    made = World(tmp_path_factory.mktemp("approximate") / "data", approximate=True)
    made.add_views(VIEWS)
    yield made
    made.close()


@pytest.fixture
def fresh_approximate_world(tmp_path: Path) -> Iterator[World]:
    """Such a store of which no row has been made exact."""
    made = World(tmp_path / "data", approximate=True)
    made.add_views(VIEWS)
    yield made
    made.close()
