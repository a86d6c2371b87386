"""`world`: the made-up clips."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from api.cli import flags, show
from engine.errors import UsageError, unknown

app = typer.Typer(help="Made-up clips with captions, questions and times.", no_args_is_help=True)


@app.command()
def make(
    directory: Annotated[Path, typer.Argument(help="Folder to write to.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    clips: Annotated[int, typer.Option(help="How many.", min=1)] = 100,
    seed: Annotated[int, typer.Option(help="The same seed gives the same clips.")] = 7,
    as_json: flags.Json = False,
) -> None:
    """Make clips as H.264 files with `world.json` beside them."""
    from engine.world.make import make_world
    from engine.world.splits import Split

    if split not in get_args(Split):
        raise UsageError(unknown("split", split, get_args(Split)))
    with show.err.status(f"making {clips} clips"):
        path = make_world(directory, split, clips, seed)  # type: ignore[arg-type]
    if as_json:
        show.print_json({"directory": directory, "annotations": path, "clips": clips})
    else:
        show.out.print(f"{clips} {split} clips in {directory}, annotated in {path.name}")
