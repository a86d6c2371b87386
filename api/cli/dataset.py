"""`dataset`: the videos of annotated sets, made ready for comparisons."""

from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from api.cli import flags, show
from engine.errors import NotFoundError

app = typer.Typer(help="Videos of annotated sets.", no_args_is_help=True)


@app.command()
def rehearse(
    target: Annotated[Path, typer.Argument(help="Folder to write to.")],
    clips: Annotated[int, typer.Option(help="Made-up videos.", min=1)] = 8,
    seconds: Annotated[float, typer.Option(help="Length of each.")] = 20.0,
    shape: Annotated[
        str | None, typer.Option(help="A random model too: L/14, B/16 or tiny.")
    ] = None,
    seed: int = 7,
    as_json: flags.Json = False,
) -> None:
    """Make up videos with annotation files in the official formats, to try the pipeline out."""
    from engine.evaluation.rehearse import rehearse as make_dataset
    from engine.evaluation.rehearse import write_random_clip

    with show.err.status(f"making {clips} videos"):
        files = make_dataset(target, clips, seconds, seed)
        if shape is not None:
            files["model"] = target / "model"
            write_random_clip(files["model"], shape, seed)
    if as_json:
        show.print_json(files)
        return
    show.print_table(("what", "where"), [(name, str(path)) for name, path in files.items()])


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
    annotated.check_spans(name, spans, needed=False)
    recipe, names = CodingRecipe(fps, side), annotated.load(annotations, spans).videos
    found = []
    with show.err.status(f"preparing {len(names)} videos") as status:
        for each in prepare_dataset(names, find_videos(videos, names), target, recipe):
            found.append(each)
            status.update(f"{len(found)}/{len(names)} videos: {each.name} {each.outcome}")
    show.print_report(tabulate_prepared(found, target, recipe), as_json=as_json, path=out)


@app.command()
def extract(
    videos: Annotated[
        Path, typer.Argument(help="Folder of videos, as dataset prepare makes them.")
    ],
    target: Annotated[Path, typer.Option(help="Folder of the files, one a video.")],
    kind: Annotated[
        list[str] | None,
        typer.Option(help="vectors (without), pixels, cues, hidden; repeatable."),
    ] = None,
    strategy: flags.StrategyName = "dense",
    parts: flags.Parts = None,
    option: flags.Options = None,
    fps: Annotated[float, typer.Option(help="Frames per second.")] = 2.0,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Write what a model makes of each video as safetensors; what is there already is kept."""
    from engine.evaluation.datasets.extract import Extracted, is_extracted
    from engine.evaluation.datasets.extract import extract as extract_all
    from engine.evaluation.files import named_apart, sample_files, video_files
    from engine.evaluation.report import Cell, Report
    from engine.evaluation.settings import named_strategies
    from engine.vision.model import load_model
    from engine.vision.registry import find_trained, read_options

    loaded = load_model(model, device=device)
    built = named_strategies(
        loaded.tower, loaded.space, [strategy], parts=parts, options=read_options(option or ())
    )
    found = find_trained(parts).get(strategy)
    trained = "" if found is None else sha256(found.read_bytes()).hexdigest()
    settings = " ".join([*sorted(option or ()), trained]).strip()
    kinds = tuple(kind or ("vectors",))
    wanted = Extracted(kinds, loaded.space, built[strategy], fps, settings)
    failed: list[tuple[str, str]] = []
    files = named_apart(video_files(videos), failed)
    if not files:
        raise NotFoundError(f"no file in {videos}")
    left = [
        (name, path)
        for name, path in files
        if not is_extracted(target / f"{name}.safetensors", wanted)
    ]
    side, made = loaded.tower.config.side, 0
    sampled = sample_files(
        iter(left), fps, loaded.preprocessing, failed=failed,
        cue_side=side if wanted.wants_cues else None,
    )  # fmt: skip
    with show.err.status(f"extracting from {len(left)} videos") as status:
        for made, (name, frames) in enumerate(extract_all(sampled, target, wanted), start=1):
            status.update(f"{made}/{len(left)} videos: {name}, {frames} frames")
    known = len(files) - len(left)
    rows: list[list[Cell]] = [["made", made], ["known", known], ["failed", len(failed)]]
    notes = (f"in {target}", *(f"failed {name}: {reason}" for name, reason in failed))
    report = Report("Extracted", ("outcome", "videos"), rows, notes)
    show.print_report(report, as_json=as_json, path=out)
