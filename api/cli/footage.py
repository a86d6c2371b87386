"""`clip`, `frames` and `sheet`: what a query found, as files to hand on."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from api.cli import finding, flags, show
from api.cli.connect import connect
from engine.errors import EngineError, NotFoundError

if TYPE_CHECKING:
    from engine.results import Moment

Folder = Annotated[Path, typer.Option("--out", help="Folder to write to.")]


def clip(
    text: finding.Text = None,
    image: finding.Image = None,
    out: Folder = Path("found"),
    pad: finding.Pad = 0.0,
    video: flags.Videos = None,
    where: flags.Where = None,
    top: finding.Top = 5,
    offset: finding.Offset = 0,
    min_score: finding.MinScore = None,
    mix: finding.Mix = None,
    _not: finding.Without = None,
    data: flags.Data = flags.DATA,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Cut the moments that fit a text into MP4 files that browsers play."""
    sought = finding.Sought(
        text, image, mix or (), _not or (), video or (), where, top, offset, min_score
    )
    out.mkdir(parents=True, exist_ok=True)
    with connect(data, model, device) as engine:
        written = [
            engine.clip(
                moment.video_id,
                max(0.0, moment.start_seconds - pad),
                moment.stop_seconds + pad,
                out / f"{_stem(place, moment, moment.start_seconds)}.mp4",
            )
            for place, moment in enumerate(sought.find(engine).moments, start=offset + 1)
        ]
    _tell(written, as_json=as_json)


def frames(
    text: finding.Text = None,
    image: finding.Image = None,
    out: Folder = Path("frames"),
    width: Annotated[int, typer.Option(help="Pixels at most.", min=16)] = 1920,
    video: flags.Videos = None,
    where: flags.Where = None,
    top: finding.Top = 10,
    offset: finding.Offset = 0,
    min_score: finding.MinScore = None,
    mix: finding.Mix = None,
    _not: finding.Without = None,
    data: flags.Data = flags.DATA,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Write the best frame of each moment that fits a text as JPEG."""
    sought = finding.Sought(
        text, image, mix or (), _not or (), video or (), where, top, offset, min_score
    )
    out.mkdir(parents=True, exist_ok=True)
    written = []
    with connect(data, model, device) as engine:
        for place, moment in enumerate(sought.find(engine).moments, start=offset + 1):
            path = out / f"{_stem(place, moment, moment.peak_seconds)}.jpg"
            path.write_bytes(engine.frame(moment.video_id, moment.peak_seconds, width=width))
            written.append(path)
    _tell(written, as_json=as_json)


def sheet(
    text: finding.Text = None,
    image: finding.Image = None,
    out: Annotated[Path, typer.Option("--out", help="The picture to write.")] = Path("sheet.png"),
    columns: Annotated[int, typer.Option(help="Pictures side by side.", min=1, max=20)] = 4,
    width: Annotated[int, typer.Option(help="Pixels of each.", min=16, max=1920)] = 320,
    video: flags.Videos = None,
    where: flags.Where = None,
    top: finding.Top = 12,
    offset: finding.Offset = 0,
    min_score: finding.MinScore = None,
    mix: finding.Mix = None,
    _not: finding.Without = None,
    data: flags.Data = flags.DATA,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Draw the best frames of the moments that fit a text on one contact sheet."""
    from api.cli.contact_sheet import Thumbnail, draw_sheet

    sought = finding.Sought(
        text, image, mix or (), _not or (), video or (), where, top, offset, min_score
    )
    shown = []
    with connect(data, model, device) as engine:
        for moment in sought.find(engine).moments:
            at = f"{moment.name}  {show.clock(moment.peak_seconds)}  {moment.score:.3f}"
            try:
                picture = engine.frame(moment.video_id, moment.peak_seconds, width=width)
                shown.append(Thumbnail(at, picture))
            except EngineError as error:
                shown.append(Thumbnail(f"{at}: {error}", None))
    if not shown:
        raise NotFoundError("nothing was found to draw")
    draw_sheet(sought.title, shown, columns, width).save(out)
    _tell([out], as_json=as_json)


def _stem(place: int, moment: "Moment", seconds: float) -> str:
    """Return a file's name: its place, its video and when, without anything but letters."""
    video = re.sub(r"[^\w.-]+", "-", Path(moment.name).stem)[-80:]
    return f"{place:03d}-{video}-{seconds:.1f}s"


def _tell(written: list[Path], *, as_json: bool) -> None:
    if as_json:
        show.print_json({"written": written})
    elif written:
        for path in written:
            show.out.print(escape(str(path)), soft_wrap=True)
    else:
        show.out.print("nothing was found")
