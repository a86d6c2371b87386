"""Fills the pages' tables and draws their pictures from what `bench strategies --out` wrote.

`python -m docs.tables` writes both anew. A place in a page is `<!-- table FILE -->` to
`<!-- end -->`, FILE beside the page.
"""

import re
import shutil
import tempfile
from pathlib import Path

from engine.evaluation.compare import Comparison
from engine.evaluation.plots import draw_left
from engine.evaluation.tables import markdown_comparison

DOCS = Path(__file__).parent
PAGES = (DOCS / "notebook/comparison.md",)
PICTURES = {
    DOCS / "notebook/families.json": DOCS / "images/families.png",
    DOCS / "notebook/natural.json": DOCS / "notebook/comparison-natural.png",
}
PLACE = re.compile(r"(<!-- table (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(page: Path) -> str:
    """Return a page with its tables as their files have them, conditions first."""
    return PLACE.sub(lambda place: place[1] + _told(page.parent / place[2]) + place[3], _text(page))


def _told(file: Path) -> str:
    found = Comparison.read(file)
    return "\n".join(
        ["", *(f"- {note}" for note in found.notes), "", markdown_comparison(found), ""]
    )


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def draw() -> None:
    """Draw the pictures whose figures are there."""
    with tempfile.TemporaryDirectory() as folder:
        for file, picture in PICTURES.items():
            if file.exists():
                drawn = Path(folder) / picture.name
                draw_left(Comparison.read(file), drawn)
                shutil.copyfile(drawn, picture)


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(fill(each), encoding="utf-8")
    draw()
