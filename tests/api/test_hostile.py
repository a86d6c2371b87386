"""A few of the hostile requests, of each way, beside which the server goes on answering."""

from collections.abc import Iterator

import pytest

from api.app import create_app
from api.config import ServerSettings
from engine.session import Engine
from tests.api.conftest import serving
from tests.torture.http import WAYS, hostile

HASTY = {"head_seconds": 0.3, "body_seconds": 0.3, "read_seconds": 0.3, "query_seconds": 1.0}


@pytest.fixture(scope="module")
def port(own_engine: Engine) -> Iterator[int]:
    """A server on a store of its own that waits for nobody."""
    settings = ServerSettings.model_validate({**HASTY, "max_connections": 64})
    with serving(create_app(own_engine, settings), settings) as port:
        yield port


@pytest.mark.parametrize("way", range(len(WAYS)), ids=[way.__name__[1:] for way in WAYS])
def test_a_hostile_request_is_met(port: int, way: int) -> None:
    assert hostile(port, way)
    come_and_go = [each.__name__ for each in WAYS].index("_come_and_go")
    assert hostile(port, come_and_go) == "come_and_go 200"
