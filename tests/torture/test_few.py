"""A few of each attack, with fixed seeds."""

from pathlib import Path

import pytest

from tests.torture import run
from tests.torture.registry import ATTACKS


@pytest.mark.parametrize("name", ATTACKS)
def test_few(name: str, tmp_path: Path) -> None:
    assert run.MODULES
    item = ATTACKS[name]
    for seed in range(item.few):
        folder = tmp_path / str(seed)
        folder.mkdir()
        assert item.body(seed, folder)
