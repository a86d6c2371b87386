"""The recorded day at the terminal is what its commands say today, as far as machines agree."""

from pathlib import Path

import pytest

from docs.record import COMMANDS, page, stable

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.real
def test_the_day_is_as_recorded(real_data: Path) -> None:
    recorded = stable((ROOT / "docs/tutorial/day.md").read_text())
    assert [line for line in recorded if line.startswith("$ ")][1:] == [f"$ {c}" for c in COMMANDS]
    assert stable(page(real_data / "videos/natural")) == recorded
