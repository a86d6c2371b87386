"""Many pictures on one, each with a line below it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from engine.printable import printable

_GAP = 8
_LINE = 18  # pixels of a line of text
_PAPER, _INK, _HOLE = "white", "black", "#dddddd"


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture, as JPEG, and what stands below it; None where it could not be read."""

    line: str
    picture: bytes | None


def draw_sheet(title: str, shown: Sequence[Thumbnail], columns: int, width: int) -> Image.Image:
    """Draw pictures in rows, `columns` side by side, each `width` wide."""
    pictures = [_fit(each, width) for each in shown]
    height = max(picture.height for picture in pictures)
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    size = (columns * (width + _GAP) + _GAP, rows * (height + _LINE + _GAP) + _LINE + 2 * _GAP)
    sheet = Image.new("RGB", size, _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    pen.text((_GAP, _GAP), _cut(pen, title, size[0] - 2 * _GAP, font), _INK, font)
    for place, (each, picture) in enumerate(zip(shown, pictures, strict=True)):
        row, column = divmod(place, columns)
        x, y = _GAP + column * (width + _GAP), 2 * _GAP + _LINE + row * (height + _LINE + _GAP)
        sheet.paste(picture, (x, y))
        pen.text((x, y + height + 2), _cut(pen, each.line, width, font), _INK, font)
    return sheet


def _fit(each: Thumbnail, width: int) -> Image.Image:
    if each.picture is None:
        return Image.new("RGB", (width, width * 9 // 16), _HOLE)
    picture = Image.open(io.BytesIO(each.picture)).convert("RGB")
    return picture.resize((width, max(1, picture.height * width // picture.width)))


def _cut(pen: ImageDraw.ImageDraw, line: str, width: int, font: object) -> str:
    """Shorten a line until it is no wider than its picture."""
    line = printable(line)
    if pen.textlength(line, font) <= width:  # type: ignore[arg-type]
        return line
    while line and pen.textlength(f"{line}…", font) > width:  # type: ignore[arg-type]
        line = line[:-1]
    return f"{line}…"
