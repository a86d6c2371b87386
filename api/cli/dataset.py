"""`dataset`: the videos of annotated sets, made ready for comparisons."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli import flags, show

app = typer.Typer(help="Videos of annotated sets.", no_args_is_help=True)


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="msrvtt, how2qa, nextqa or nextgqa.")],
    videos: Annotated[Path, typer.Argument(help="Folder of the dataset's videos.")],
    annotations: Annotated[Path, typer.Option(help="The dataset's own annotation file (csv).")],
    target: Annotated[Path, typer.Option(help="Folder of the videos as they are made.")],
    spans: Annotated[Path | None, typer.Option(help="NExT-GQA's gsub_*.json.")] = None,
    fps: Annotated[float, typer.Option(help="Frames per second.")] = 2.0,
    side: Annotated[
        int, typer.Option(help="Pixels of the square: 256 for ViT-L/14, 224 for ViT-B/16.")
    ] = 256,
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Sample, crop and code a dataset's videos anew, as codec cues were published; goes on."""
    from engine.evaluation.datasets.prepare import CodingRecipe, prepare_dataset, tabulate_prepared
    from engine.evaluation.datasets.registry import DATASETS, AnnotatedSet
    from engine.evaluation.evaluate import find_videos

    annotated = DATASETS.find(name, AnnotatedSet)
    recipe, names = CodingRecipe(fps, side), annotated.load(annotations, spans).videos
    found = []
    with show.err.status(f"preparing {len(names)} videos") as status:
        for each in prepare_dataset(names, find_videos(videos, names), target, recipe):
            found.append(each)
            status.update(f"{len(found)}/{len(names)} videos: {each.name} {each.outcome}")
    show.print_report(tabulate_prepared(found, target, recipe), as_json=as_json, path=out)
