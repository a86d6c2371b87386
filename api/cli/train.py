"""`train` and `calibrate`: the built-in model, reuse modules, gate, what answers questions."""

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from api.cli import flags, show, train_heads, trained
from api.cli.bar import Bar
from engine.errors import NotFoundError, UsageError, VideoError

if TYPE_CHECKING:
    from engine.training.reusevit.frames import FrameSource
    from engine.vision.model import Model

app = typer.Typer(help="Train the model or the parts that reuse.", no_args_is_help=True)
app.registered_commands += train_heads.app.registered_commands
Folder = Annotated[
    Path | None, typer.Option("--videos", help="Your videos; without, made-up clips.")
]


@app.command()
def clip(
    out: trained.Out = Path("runs/clip"),
    seconds: trained.Seconds = 420.0,
    clips: Annotated[int, typer.Option(help="Clips of one step.")] = 1024,
    start: Annotated[Path | None, typer.Option(help="A model to go on from.")] = None,
    seed: int = 0,
    workers: flags.Workers = 2,
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Train a small CLIP on the made-up world, stored in Hugging Face's form."""
    import torch

    from engine.training.clip.train import ClipTraining
    from engine.training.clip.train import train as train_clip

    trained.log()
    place = "cuda" if device == "auto" and torch.cuda.is_available() else device
    scores = train_clip(
        ClipTraining(
            str(out),
            seconds=seconds,
            clips=clips,
            start=str(start) if start else None,
            seed=seed,
            workers=workers,
            device="cpu" if place == "auto" else place,
        )
    )
    trained.done(scores, out, as_json=as_json)


@app.command()
def action(
    out: trained.Out = Path("runs/action"),
    seconds: trained.Seconds = 140.0,
    clips: Annotated[int, typer.Option(help="Made-up clips, rendered before.")] = 36_000,
    batch: Annotated[int, typer.Option(help="Clips of one step.")] = 256,
    tokens: Annotated[
        str, typer.Option(help="Of each clip: all, runlength, random or merged.")
    ] = "all",
    threshold: Annotated[
        float, typer.Option(help="Of change, from which a token begins a run.")
    ] = 0.1,
    keep: Annotated[
        float, typer.Option(help="Share kept: at random, left by merging, or of patches.")
    ] = 0.5,
    model: Annotated[
        str | None,
        typer.Option(help="A factorised ViViT, whose temporal half alone is fine-tuned."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="With --model: where its spatial features are kept.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="With --model: times through all clips.", min=1)] = 10,
    seed: int = 0,
    workers: flags.Workers = 2,
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Train a small video classifier on motions of the made-up world, in Hugging Face's form."""
    from engine.errors import UsageError
    from engine.training.action.temporal import TemporalTraining, train_temporal
    from engine.training.action.train import ActionTraining
    from engine.training.action.train import train as train_action
    from engine.vision.model import pick_device

    trained.log()
    if model is None and cache is not None:
        raise UsageError("--cache keeps the spatial features of a factorised ViViT: add --model")
    if model is not None:
        temporal = TemporalTraining(
            model,
            str(out),
            None if cache is None else str(cache),
            clips=clips,
            batch=batch,
            rounds=rounds,
            keep=keep,
            seed=seed,
            workers=workers,
            device=str(pick_device(device)),
        )
        trained.done(train_temporal(temporal), out, as_json=as_json)
        return
    scores = train_action(
        ActionTraining(
            str(out),
            seconds=seconds,
            clips=clips,
            batch=batch,
            seed=seed,
            workers=workers,
            device=str(pick_device(device)),
            tokens=tokens,
            threshold=threshold,
            keep=keep,
        )
    )
    trained.done(scores, out, as_json=as_json)


@app.command()
def detector(
    out: trained.Out = Path("runs/detector"),
    seconds: trained.Seconds = 150.0,
    pictures: Annotated[int, typer.Option(help="Made-up pictures, rendered before.")] = 40_000,
    batch: Annotated[int, typer.Option(help="Pictures of one step.")] = 256,
    frozen: Annotated[
        bool, typer.Option("--frozen", help="Learn the head alone, from tokens computed once.")
    ] = False,
    seed: int = 0,
    workers: flags.Workers = 2,
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Train a detector of made-up things out of the built-in tower; on a CPU with --frozen."""
    from engine.training.detect.train import DetectorTraining
    from engine.training.detect.train import train as train_detector
    from engine.vision.model import pick_device

    trained.log()
    scores = train_detector(
        DetectorTraining(
            str(out),
            seconds=seconds,
            pictures=pictures,
            batch=batch,
            frozen=frozen,
            seed=seed,
            workers=workers,
            device=str(pick_device(device)),
        )
    )
    trained.done(scores, out, as_json=as_json)


@app.command()
def reuse(
    out: trained.Out = Path("runs/reuse"),
    videos: Folder = None,
    target: Annotated[
        list[float] | None,
        typer.Option(help="Reuse rate to aim for, 0.85 without; of several a run each."),
    ] = None,
    cue: Annotated[str, typer.Option(help="pixels, codec or none.")] = "pixels",
    chain: Annotated[str, typer.Option(help="published or compound.")] = "published",
    gates: Annotated[str, typer.Option(help="soft, as published, or straight.")] = "soft",
    narrow: Annotated[int, typer.Option(help="Width of each correction; 0: none.")] = 64,
    start: Annotated[
        Path | None, typer.Option(help="Parts to go out from, moved to the target.")
    ] = None,
    epochs: int = 5,
    seconds: Annotated[float, typer.Option(help="Time after which it ends; 0: no limit.")] = 0.0,
    batch: trained.Batch = 12,
    processes: Annotated[
        int, typer.Option(help="That share each batch, a GPU each where there are any.", min=1)
    ] = 1,
    clips: Annotated[int, typer.Option(help="Made-up clips of one epoch.")] = 600,
    fps: flags.Fps = 2.0,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Train ReuseViT's parts for a frozen tower; started again, a run goes on where it stopped."""
    import torch

    from engine.training.reusevit.config import ReuseTraining
    from engine.training.reusevit.run import ReuseRun, train_reuse
    from engine.vision.model import load_model
    from engine.vision.reusevit.modules import ReuseConfig

    trained.log()
    if cue == "codec" and videos is None:
        raise UsageError("codec cues are those of files: give --videos, made by dataset prepare")
    config = ReuseTraining(
        gates=gates,  # type: ignore[arg-type]
        epochs=epochs,
        seconds=seconds,
        anneal=seconds > 0,
        batch=batch,
        modules=ReuseConfig(narrow=narrow, cue=cue, chain=chain),  # type: ignore[arg-type]
    )
    loaded = load_model(
        model, device="cpu" if processes > 1 else device, dtype=torch.float32
    )  # processes beside load it for themselves
    side = loaded.tower.config.side if cue == "codec" else None
    held_out, epoch = _held_out(loaded, videos, fps, side)
    run = ReuseRun(
        model=model,
        device=device,
        config=config,
        targets=tuple(dict.fromkeys(target or [0.85])),
        out=out,
        source=_source(loaded, videos, fps, clips, side),
        held_out=held_out,
        held_out_epoch=epoch,
        start=start,
    )
    results = train_reuse(loaded, run, processes)
    if len(results) > 1 and as_json:
        show.print_json({"out": out, "results": results})
        return
    for each in run.targets:
        trained.done(results[f"{each:g}"], run.folder(each), as_json=as_json)


@app.command()
def rates(
    out: trained.Out = Path("runs/rates"),
    videos: Folder = None,
    share: Annotated[
        list[float] | None,
        typer.Option(help="Of dense's cost, 0.5 without; of several a run each."),
    ] = None,
    steps: trained.Steps = 150,
    windows: Annotated[int, typer.Option(help="Windows of four frames of a step.", min=1)] = 4,
    clips: trained.Rendered = 600,
    fps: flags.Fps = 2.0,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Learn how many tokens each layer prunes and merges, as DiffRate does, for a frozen tower."""
    import torch

    from engine.training.rates import RateTraining, tell_rates, train_rates, write_rates
    from engine.vision.model import load_model

    trained.log()
    loaded = load_model(model, device=device, dtype=torch.float32)
    source, results = _source(loaded, videos, fps, clips), {}
    for each in dict.fromkeys(share or [0.5]):
        config = RateTraining(each, steps=steps, windows=windows)
        found = train_rates(loaded.tower, config, source, out / f"rates-{each:g}.csv")
        write_rates(out / "rates.json", loaded.space.model, {f"{each:g}": found})
        results[f"{each:g}"] = tell_rates(loaded.tower.config, found)
    trained.done(results, out, as_json=as_json)


@app.command()
def gate(
    out: trained.Out = Path("runs/gate"),
    videos: Folder = None,
    steps: trained.Steps = 4000,
    batch: trained.Batch = 24,
    clips: trained.Rendered = 3000,
    max_drift: flags.MaxDrift = 0.02,
    fps: flags.Fps = 2.0,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Train the early gate's limits for a frozen tower, then calibrate them to the bound."""
    import torch

    from engine.training.earlygate.calibrate import calibrate as calibrate_gate
    from engine.training.earlygate.train import GateTraining, train_gate
    from engine.training.reusevit.run import HELD_OUT, WINDOWS
    from engine.vision.earlygate.file import GateCard, GateFile, save_gate
    from engine.vision.earlygate.strategy import EarlyGate
    from engine.vision.model import load_model

    trained.log()
    loaded = load_model(model, device=device, dtype=torch.float32)
    config = GateTraining(steps=steps, batch=batch)
    source = _source(loaded, videos, fps, clips)
    limits = train_gate(loaded.tower, config, source, out / "gate.csv")
    windows, epoch = _held_out(loaded, videos, fps)
    held_out = [each.pixels for each in islice(windows.windows(HELD_OUT, epoch), WINDOWS)]
    found = calibrate_gate(EarlyGate(loaded.tower, limits), held_out, max_drift=max_drift)
    card = GateCard.of(loaded.space, max_drift, found.report)
    save_gate(out / "earlygate.safetensors", GateFile(found.limits, card))
    trained.done(found.report, out, as_json=as_json)


def calibrate(
    videos: Annotated[Path, typer.Option(help="Folder of your own videos.")],
    out: Annotated[Path, typer.Option(help="File of limits to write.")],
    max_drift: flags.MaxDrift = 0.02,
    frames: Annotated[int, typer.Option(help="Frames of each video to look at.")] = 33,
    most: Annotated[int, typer.Option(help="Videos to look at, at most.")] = 40,
    fps: flags.Fps = 2.0,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Find the early gate's limits for any model on your own videos, without training.

    Started again with the same `--out`, a broken-off search goes on where it stopped.
    """
    from engine.evaluation.files import sample_file, video_files
    from engine.training.earlygate.calibrate import calibrate as calibrate_gate
    from engine.vision.earlygate.file import GateCard, GateFile, save_gate
    from engine.vision.earlygate.limits import FixedLimits
    from engine.vision.earlygate.strategy import EarlyGate
    from engine.vision.model import load_model

    loaded = load_model(model, device=device)
    files = video_files(videos)[:most]
    if not files:
        raise NotFoundError(f"no file below {videos}")
    streams = []
    with Bar("reading", "videos", as_json=as_json) as bar:
        for number, file in enumerate(files, start=1):
            try:
                sampled = sample_file(file, fps, loaded.preprocessing, most=frames)
                streams.append(sampled.pixels[:frames])
            except VideoError as error:
                show.err.print(f"[yellow]left out: {escape(str(error))}[/]", soft_wrap=True)
            bar.tell(number, len(files))
    start = EarlyGate(loaded.tower, FixedLimits.uniform(loaded.tower.config, 0.2))
    memo = out.with_suffix(".trials.json")
    with Bar("calibrating", "trials", as_json=as_json) as bar:
        found = calibrate_gate(start, streams, max_drift=max_drift, memo=memo, tell=bar.tell)
    card = GateCard.of(loaded.space, max_drift, found.report)
    save_gate(out, GateFile(found.limits, card))
    if not as_json:
        show.out.print(
            f"mean drift {found.trial.drift:.4f} at {1 / found.trial.share:.2f} × fewer "
            f"multiply-accumulates, on {len(streams)} videos"
        )
    trained.done(found.report, out, as_json=as_json)


def _source(
    model: "Model", videos: Path | None, fps: float, clips: int, cue_side: int | None = None
) -> "FrameSource":
    from engine.evaluation.windows import FileFrames
    from engine.training.reusevit.frames import WorldFrames

    if videos is not None:
        return FileFrames(videos, model.preprocessing, fps, cue_side=cue_side)
    return WorldFrames(clips, model.tower.config.image_size, fps=fps)


def _held_out(
    model: "Model", videos: Path | None, fps: float, cue_side: int | None = None
) -> "tuple[FrameSource, int]":
    """Windows to validate on, and of which epoch."""
    from engine.evaluation.windows import FileFrames
    from engine.training.reusevit.frames import WorldFrames
    from engine.training.reusevit.run import WINDOWS

    if videos is not None:
        return FileFrames(videos, model.preprocessing, fps, cue_side=cue_side), 1
    size = model.tower.config.image_size
    return WorldFrames(WINDOWS, size, "val", seed=1, fps=fps, fresh=False), 0
