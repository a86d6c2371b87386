"""`train answers`, `patch-reader`, `sequence` and `grounding`: what reads a model's vectors."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import flags, trained

if TYPE_CHECKING:
    from engine.vision.model import Model

app = typer.Typer()
Learned = Annotated[int, typer.Option(help="Made-up clips to learn from.", min=2)]
HeldOut = Annotated[int, typer.Option(help="Others, to score on.", min=2)]
Vectors = Annotated[
    Path | None,
    typer.Option("--vectors", help="Folder that keeps encoded clips, for this and later runs."),
]


@app.command()
def answers(
    out: trained.Out = Path("runs/answers"),
    clips: Annotated[int, typer.Option(help="Made-up clips to learn from.", min=1)] = 5000,
    steps: trained.Steps = 3500,
    batch: Annotated[int, typer.Option(help="Questions of one step.", min=1)] = 64,
    rate: trained.Rate = 1e-3,
    strategy: Annotated[
        list[str] | None,
        typer.Option(help="Learn from its vectors too, clips in turns; repeatable."),
    ] = None,
    option: flags.Options = None,
    agreement: Annotated[
        float, typer.Option(help="Weight of saying the same of dense and a strategy's vectors.")
    ] = 1.0,
    start: Annotated[Path | None, typer.Option(help="A head to go on from.")] = None,
    float32: Annotated[
        bool,
        typer.Option("--float32", help="Vectors as a CPU makes them, frames left out by the gate."),
    ] = False,
    seed: int = 1,
    workers: flags.Workers = 2,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Train the head that answers questions from a model's vectors."""
    import torch

    from engine.evaluation.settings import named_strategies
    from engine.training.answers import AnswerTraining as HeadConfig
    from engine.training.answers import train_head
    from engine.vision.model import load_model
    from engine.vision.registry import read_options

    trained.log()
    loaded = load_model(model, device=device, dtype=torch.float32 if float32 else None)
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
    trained.done(
        train_head(loaded, config, out, strategies=judged, start=start), out, as_json=as_json
    )


@app.command()
def sequence(
    out: trained.Out = Path("runs/sequence"),
    clips: Learned = 4000,
    validation: HeldOut = 400,
    steps: trained.Steps = 1500,
    rate: trained.Rate = 3e-4,
    seed: int = 1,
    vectors: Vectors = None,
    workers: flags.Workers = 2,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Train CLIP4Clip's sequence head, which pools a video's frame vectors into one."""
    from engine.training.sequence import SequenceTraining, train_sequence
    from engine.training.vectors import HeadPlan

    trained.log()
    config = SequenceTraining(HeadPlan.usual(clips, validation, steps, rate, seed))
    scores = train_sequence(_coarse(model, device), config, out, workers=workers, keep=vectors)
    trained.done(scores, out, as_json=as_json)


@app.command()
def grounding(
    out: trained.Out = Path("runs/grounding"),
    clips: Learned = 4000,
    validation: HeldOut = 400,
    steps: trained.Steps = 3000,
    rate: trained.Rate = 1e-3,
    seed: int = 1,
    vectors: Vectors = None,
    start: Annotated[
        Path | None,
        typer.Option(help="An answering head to go on from. Without it what ships for the model."),
    ] = None,
    workers: flags.Workers = 2,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Train a head that says when the evidence of an answer is there, as TempGQA's does."""
    from engine.answering.head import load_reader, shipped_reader
    from engine.training.grounding import GroundingTraining, train_grounding
    from engine.training.vectors import HeadPlan

    trained.log()
    config = GroundingTraining(HeadPlan.usual(clips, validation, steps, rate, seed))
    loaded = _coarse(model, device)
    reader = load_reader(start, loaded.space.weight_hash) if start else shipped_reader(loaded)
    scores = train_grounding(loaded, config, out, workers=workers, keep=vectors, start=reader)
    trained.done(scores, out, as_json=as_json)


def _coarse(model: str, device: str) -> "Model":
    """Load a model in bfloat16, whose rounding is noise to a head over whole vectors."""
    import torch

    from engine.vision.model import load_model

    return load_model(model, device=device, dtype=torch.bfloat16)


@app.command()
def patch_reader(
    out: trained.Out = Path("runs/patch-reader"),
    seconds: trained.Seconds = 400.0,
    rate: trained.Rate = 1e-3,
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

    trained.log()
    loaded = load_model(model, device=device)
    config = PatchReaderTraining(
        out=str(out),
        seconds=seconds,
        rate=rate,
        start=str(start) if start else None,
        seed=seed,
        workers=workers,
    )
    trained.done(train_patch_reader(loaded, config), out, as_json=as_json)
