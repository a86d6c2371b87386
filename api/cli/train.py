"""`train` and `calibrate`: the built-in model, reuse modules, gate, what answers questions."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import flags, show
from engine.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from engine.training.earlygate.calibrate import Calibrated
    from engine.training.reusevit.frames import FrameSource, Window
    from engine.vision.earlygate.file import GateCard
    from engine.vision.model import Model

app = typer.Typer(help="Train the model or the parts that reuse.", no_args_is_help=True)
Out = Annotated[Path, typer.Option("--out", help="Folder for weights, log and report.")]
Folder = Annotated[
    Path | None, typer.Option("--videos", help="Your videos; without, made-up clips.")
]
_HELD_OUT = 33  # frames of a validation window: a full one and eight groups


@app.command()
def clip(
    out: Out = Path("runs/clip"),
    seconds: Annotated[float, typer.Option(help="How long; the schedule follows.")] = 420.0,
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

    _log()
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
    _done(scores, out, as_json=as_json)


@app.command()
def action(
    out: Out = Path("runs/action"),
    seconds: Annotated[float, typer.Option(help="How long; the schedule follows.")] = 140.0,
    clips: Annotated[int, typer.Option(help="Made-up clips, rendered before.")] = 36_000,
    batch: Annotated[int, typer.Option(help="Clips of one step.")] = 256,
    tokens: Annotated[str, typer.Option(help="Of each clip: all, runlength or random.")] = "all",
    threshold: Annotated[
        float, typer.Option(help="Of change, from which a token begins a run.")
    ] = 0.1,
    keep: Annotated[float, typer.Option(help="Share of the tokens kept at random.")] = 0.5,
    seed: int = 0,
    workers: flags.Workers = 2,
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Train a small video classifier on motions of the made-up world, in Hugging Face's form."""
    from engine.training.action.train import ActionTraining
    from engine.training.action.train import train as train_action
    from engine.vision.model import pick_device

    _log()
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
    _done(scores, out, as_json=as_json)


@app.command()
def reuse(
    out: Out = Path("runs/reuse"),
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
    batch: int = 12,
    clips: Annotated[int, typer.Option(help="Made-up clips of one epoch.")] = 600,
    fps: flags.Fps = 2.0,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Train ReuseViT's parts for a frozen tower; started again, a run goes on where it stopped."""
    import torch

    from engine.training.reusevit.config import ReuseTraining
    from engine.training.reusevit.train import Trainer
    from engine.vision.model import load_model
    from engine.vision.reusevit.modules import ReuseConfig

    _log()
    if cue == "codec" and videos is None:
        raise UsageError("codec cues are those of files: give --videos, made by dataset prepare")
    loaded = load_model(model, device=device, dtype=torch.float32)
    config = ReuseTraining(
        gates=gates,  # type: ignore[arg-type]
        epochs=epochs,
        seconds=seconds,
        anneal=seconds > 0,
        batch=batch,
        modules=ReuseConfig(narrow=narrow, cue=cue, chain=chain),  # type: ignore[arg-type]
    )
    side = loaded.tower.config.side if cue == "codec" else None
    source, held_out = (
        _source(loaded, videos, fps, clips, side),
        _held_out(loaded, videos, fps, side),
    )
    targets = list(dict.fromkeys(target or [0.85]))
    results = {}
    for each in targets:
        folder = out if len(targets) == 1 else out / f"{each:g}"
        aimed = replace(config, target=each)
        trainer = Trainer(loaded.tower, aimed, folder, space=loaded.space, start=start)
        results[f"{each:g}"] = trainer.run(source, held_out)
    for name, result in results.items():
        if len(targets) == 1 or not as_json:
            _done(result, out if len(targets) == 1 else out / name, as_json=as_json)
    if len(targets) > 1 and as_json:
        show.print_json({"out": out, "results": results})


@app.command()
def gate(
    out: Out = Path("runs/gate"),
    videos: Folder = None,
    steps: int = 4000,
    batch: int = 24,
    clips: Annotated[int, typer.Option(help="Made-up clips of one pass.")] = 3000,
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
    from engine.vision.earlygate.file import GateFile, save_gate
    from engine.vision.earlygate.strategy import EarlyGate
    from engine.vision.model import load_model

    _log()
    loaded = load_model(model, device=device, dtype=torch.float32)
    config = GateTraining(steps=steps, batch=batch)
    source = _source(loaded, videos, fps, clips)
    limits = train_gate(loaded.tower, config, source, out / "gate.csv")
    held_out = [window.pixels for window in _held_out(loaded, videos, fps)]
    found = calibrate_gate(EarlyGate(loaded.tower, limits), held_out, max_drift=max_drift)
    card = _card(loaded, found, max_drift)
    save_gate(out / "earlygate.safetensors", GateFile(found.limits, card))
    _done(found.report, out, as_json=as_json)


@app.command()
def answers(
    out: Out = Path("runs/answers"),
    clips: int = 5000,
    steps: int = 3500,
    batch: Annotated[int, typer.Option(help="Questions of one step.")] = 64,
    rate: Annotated[float, typer.Option(help="Peak of the learning rate.")] = 1e-3,
    strategy: Annotated[
        list[str] | None,
        typer.Option(help="Learn from its vectors too, clips in turns; repeatable."),
    ] = None,
    option: flags.Options = None,
    agreement: Annotated[
        float, typer.Option(help="Weight of saying the same of dense and a strategy's vectors.")
    ] = 1.0,
    start: Annotated[Path | None, typer.Option(help="A head to go on from.")] = None,
    seed: int = 1,
    workers: flags.Workers = 2,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Train the head that answers questions from a model's vectors."""
    from engine.evaluation.settings import named_strategies
    from engine.training.answers import AnswerTraining as HeadConfig
    from engine.training.answers import train_head
    from engine.vision.model import load_model
    from engine.vision.registry import read_options

    _log()
    loaded = load_model(model, device=device)
    judged = named_strategies(
        loaded.tower, loaded.space, strategy or (), options=read_options(option or ())
    )
    del judged["dense"]
    config = HeadConfig(
        clips=clips,
        steps=steps,
        batch=batch,
        learning_rate=rate,
        agreement_weight=agreement,
        seed=seed,
        workers=workers,
    )
    _done(train_head(loaded, config, out, strategies=judged, start=start), out, as_json=as_json)


@app.command()
def patch_reader(
    out: Out = Path("runs/patch-reader"),
    seconds: Annotated[float, typer.Option(help="How long; the schedule follows.")] = 400.0,
    rate: Annotated[float, typer.Option(help="Peak of the learning rate.")] = 1e-3,
    start: Annotated[Path | None, typer.Option(help="A patch reader to go on from.")] = None,
    seed: int = 0,
    workers: flags.Workers = 2,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Train what answers questions by looking at frames again; at its best on a GPU."""
    from engine.training.patch_reader.train import PatchReaderTraining, train_patch_reader
    from engine.vision.model import load_model

    _log()
    loaded = load_model(model, device=device)
    config = PatchReaderTraining(
        out=str(out),
        seconds=seconds,
        rate=rate,
        start=str(start) if start else None,
        seed=seed,
        workers=workers,
    )
    _done(train_patch_reader(loaded, config), out, as_json=as_json)


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
    from engine.vision.earlygate.file import GateFile, save_gate
    from engine.vision.earlygate.limits import FixedLimits
    from engine.vision.earlygate.strategy import EarlyGate
    from engine.vision.model import load_model

    _log()
    loaded = load_model(model, device=device)
    files = video_files(videos)[:most]
    if not files:
        raise NotFoundError(f"no file below {videos}")
    streams = [sample_file(file, fps, loaded.preprocessing).pixels[:frames] for file in files]
    start = EarlyGate(loaded.tower, FixedLimits.uniform(loaded.tower.config, 0.2))
    found = calibrate_gate(
        start, streams, max_drift=max_drift, memo=out.with_suffix(".trials.json")
    )
    card = _card(loaded, found, max_drift)
    save_gate(out, GateFile(found.limits, card))
    if not as_json:
        show.out.print(
            f"mean drift {found.trial.drift:.4f} at {1 / found.trial.share:.2f} × fewer "
            f"multiply-accumulates, on {len(streams)} videos"
        )
    _done(found.report, out, as_json=as_json)


def _card(model: "Model", found: "Calibrated", max_drift: float) -> "GateCard":
    from engine.vision.earlygate.file import GateCard

    space = model.space
    return GateCard(space.model, space.weight_hash, max_drift, report=found.report)


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
) -> "list[Window]":
    from engine.evaluation.windows import FileFrames
    from engine.training.reusevit.frames import WorldFrames

    if videos is not None:
        source: FrameSource = FileFrames(videos, model.preprocessing, fps, cue_side=cue_side)
        return list(source.windows(_HELD_OUT, epoch=1))[:40]
    world = WorldFrames(40, model.tower.config.image_size, "val", fps=fps, fresh=False)
    return list(replace(world, seed=1).windows(_HELD_OUT, epoch=0))


def _log() -> None:
    logging.getLogger("engine").setLevel(logging.INFO)


def _done(result: object, out: Path, *, as_json: bool) -> None:
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
