"""`eval`: what a model and a strategy are worth on the tasks of the field."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import flags, show
from engine.errors import UsageError, unknown
from engine.evaluation.report import Report

if TYPE_CHECKING:
    from engine.answering.head import VectorReader
    from engine.evaluation.heads import TrainedHeads
    from engine.vision.model import Model
    from engine.vision.streaming.strategy import Strategy

TASKS = ("all", "retrieval", "qa", "grounding")
Annotations = Annotated[Path | None, typer.Option(help="The dataset's own annotation file (csv).")]


def evaluate(
    task: Annotated[
        str,
        typer.Argument(help="all, retrieval, qa or grounding; a dataset: all that it asks."),
    ] = "all",
    dataset: Annotated[
        str, typer.Option(help="world, msrvtt, how2qa, nextqa or nextgqa.")
    ] = "world",
    videos: Annotated[Path | None, typer.Option(help="Folder of the dataset's videos.")] = None,
    annotations: Annotations = None,
    spans: Annotated[
        Path | None, typer.Option(help="NExT-GQA's gsub_*.json, beside --annotations.")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(help="Encode so many frames a second, all; else the dataset's own protocol."),
    ] = None,
    strategy: Annotated[
        list[str] | None, typer.Option(help="Compared with dense; repeatable.")
    ] = None,
    parts: flags.Parts = None,
    option: flags.Options = None,
    sequence_head: Annotated[
        Path | None, typer.Option(help="Pool frames by this, too: of train sequence.")
    ] = None,
    span_head: Annotated[
        Path | None, typer.Option(help="Ground answers by this, too: of train grounding.")
    ] = None,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    clips: Annotated[int, typer.Option(help="Clips of the world.", min=2)] = 1000,
    seed: Annotated[int, typer.Option(help="Of the world's pool.")] = 7,
    split: Annotated[str, typer.Option(help="Of the world: val or test.")] = "test",
    workers: flags.Workers = 2,
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Score retrieval, answers and grounded answers, per strategy, in one table."""
    from engine.answering.head import shipped_reader
    from engine.evaluation.datasets.registry import DATASETS
    from engine.evaluation.evaluate import evaluate_world
    from engine.evaluation.settings import named_strategies
    from engine.vision.model import load_model
    from engine.vision.registry import read_options

    if task in (sets := DATASETS.all()):
        task, dataset = "all", task
    if task not in TASKS:
        raise UsageError(unknown("task or dataset", task, (*TASKS, *sets)))
    if dataset not in (known := ("world", *sets)):
        raise UsageError(unknown("dataset", dataset, known))
    wanted = AskedSet(dataset, videos, annotations, spans, task, fps)
    if dataset == "world" and (idle := wanted.only_of_files()):
        raise UsageError(f"{idle} is of videos in files; the made-up world has none")
    loaded = load_model(model, device=device)
    judged = named_strategies(
        loaded.tower,
        loaded.space,
        strategy or (),
        parts=parts,
        options=read_options(option or ()),
    )
    reader = shipped_reader(loaded)
    heads = _heads(loaded, sequence_head, span_head)
    with show.err.status(f"evaluating {', '.join(judged)} on {dataset}"):
        if dataset == "world":
            report = evaluate_world(
                loaded,
                judged,
                split=split,  # type: ignore[arg-type]
                clips=clips,
                seed=seed,
                workers=workers,
                streams=64 if loaded.device.type == "cuda" else 8,
                reader=reader,
                heads=heads,
            )
        else:
            report = _on_files(loaded, judged, wanted, reader, heads)
    show.print_report(report, as_json=as_json, path=out)


def _heads(model: "Model", sequence: Path | None, spans: Path | None) -> "TrainedHeads":
    from engine.answering.span_head import load_span_head
    from engine.evaluation.heads import TrainedHeads
    from engine.search.sequence import load_sequence

    own = model.space.weight_hash
    return TrainedHeads(
        None if sequence is None else load_sequence(sequence, own).to(model.device),
        None if spans is None else load_span_head(spans, own).to(model.device),
    )


@dataclass(frozen=True, slots=True)
class AskedSet:
    """Of real videos: which, and how they are sampled."""

    dataset: str
    videos: Path | None
    annotations: Path | None
    spans: Path | None
    task: str
    fps: float | None  # None: the dataset's own rate, thinned out to its own number of frames

    def only_of_files(self) -> str:
        """Options that were given and that mean nothing without files."""
        names = ("videos", "annotations", "spans", "fps")
        return ", ".join(f"--{name}" for name in names if getattr(self, name) is not None)


def _on_files(
    model: "Model",
    judged: "dict[str, Strategy]",
    wanted: AskedSet,
    reader: "VectorReader | None",
    heads: "TrainedHeads",
) -> Report:
    import torch

    from engine.evaluation.datasets.registry import DATASETS, AnnotatedSet
    from engine.evaluation.evaluate import at_most, evaluate_files, find_videos
    from engine.evaluation.files import sample_files
    from engine.vision.reusevit.strategy import cue_side

    name, videos, annotations = wanted.dataset, wanted.videos, wanted.annotations
    spans, task, side = wanted.spans, wanted.task, cue_side(judged.values())
    annotated = DATASETS.find(name, AnnotatedSet)
    if videos is None or annotations is None:
        raise UsageError(f"dataset {name} needs --videos DIR and --annotations FILE")
    annotated.check_spans(name, spans)
    data = annotated.load(annotations, spans)
    if (task == "retrieval") != bool(data.captions) and task != "all":
        has = "retrieval" if data.captions else "qa"
        raise UsageError(f"dataset {name} has no annotations for {task}; allowed: all, {has}")
    if side is not None and wanted.fps is None:
        raise UsageError("codec cues are of frame after frame: give --fps, the rate of the videos")
    failed: list[tuple[str, str]] = []
    sampled = sample_files(
        find_videos(videos, data.videos),
        wanted.fps or annotated.fps,
        model.preprocessing,
        failed=failed,
        cue_side=side,
    )
    if wanted.fps is None:
        sampled = (at_most(pixels, annotated.most) for pixels in sampled)
    with torch.inference_mode():
        report = evaluate_files(model, judged, data, sampled, reader=reader, heads=heads)
    unusable = tuple(f"left out {video}: {reason}" for video, reason in failed)
    return replace(report, notes=report.notes + unusable)
