"""The two worlds, each made once."""

import shutil
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


@pytest.fixture(scope="session")
def approximate_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a store, closed, to be copied."""
    made = World(tmp_path_factory.mktemp("closed") / "data", approximate=True)
    made.close()
    return made.root


@pytest.fixture
def fresh_approximate_world(approximate_store: Path, tmp_path: Path) -> Iterator[World]:
    """Such a store of which no row has been made exact."""
    root = Path(shutil.copytree(approximate_store, tmp_path / "data"))
    made = World(root, approximate=True)
    made.add_views(VIEWS)
    yield made
    made.close()
