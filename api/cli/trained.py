"""What commands that train share: the folder they write to, and how they tell of a run."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from api.cli import show

Out = Annotated[Path, typer.Option("--out", help="Folder for weights, log and report.")]
Seconds = Annotated[float, typer.Option(help="How long; the schedule follows.")]
Rate = Annotated[float, typer.Option(help="Peak of the learning rate.", min=0)]
Batch = Annotated[int, typer.Option(help="Clips or windows of one step.", min=1)]
Steps = Annotated[int, typer.Option(help="Of the optimiser.", min=1)]
Rendered = Annotated[int, typer.Option(help="Made-up clips of one pass.")]


def log() -> None:
    """Tell how a run goes on."""
    logging.getLogger("engine").setLevel(logging.INFO)


def done(result: object, out: Path, *, as_json: bool) -> None:
    """Print what came of a run, and where it lies."""
    if as_json:
        show.print_json({"out": out, "result": result})
        return
    for name, value in show.plain(result).items():
        show.out.print(f"[dim]{name.replace('_', ' '):>24}[/]  {_short(value)}")
    show.out.print(f"written to {out}")


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return " ".join(_short(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(item)}" for name, item in value.items())
    return str(value)
