"""The tables of the pages are those that the files of figures give."""

from pathlib import Path

import pytest

from docs.tables import PAGES, PLACE, fill
from engine.errors import NotFoundError


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_say_what_was_written(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert PLACE.search(text)
    assert fill(page) == text


def test_a_place_without_its_file_is_told(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- table nowhere.json -->\n<!-- end -->\n")
    with pytest.raises(NotFoundError, match=r"nowhere\.json cannot be read"):
        fill(page)
