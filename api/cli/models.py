"""`models`: which models are at hand, and the first run of a new one."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from api.cli import flags, show

if TYPE_CHECKING:
    from engine.storage.records import Job

app = typer.Typer(help="Models: those at hand, and the first run of a new one.")


class Type(StrEnum):
    """What the weights are multiplied in."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Labeller(StrEnum):
    """What names things in pictures or what happens."""

    DETECTOR = "detector"
    ACTION = "action"


@app.command("labels")
def list_labels(
    kind: Annotated[Labeller, typer.Argument(help="Of DETECT and detections, or of ACTION.")],
    model: Annotated[
        str | None, typer.Option(help="A folder or hub id; without, the one that is set.")
    ] = None,
    as_json: flags.Json = False,
) -> None:
    """List what a detector or an action model tells apart, and words for several of it."""
    from engine.config import Settings
    from engine.vision.action import load_action_model
    from engine.vision.backbone.detector_families import NOTHING
    from engine.vision.detect import load_detector

    settings = Settings()
    if kind is Labeller.DETECTOR:
        detector = load_detector(model or settings.detector_model, device="cpu")
        labels = [name for name in detector.labels if name != NOTHING]
        words = {word: len(places) for word, places in detector.groups.items()}
    else:
        labels = list(load_action_model(model or settings.action_model, device="cpu").labels)
        words = {}
    if as_json:
        show.print_json({"labels": labels, "words": words})
        return
    rows = [*((word, str(count)) for word, count in words.items()), *((n, "1") for n in labels)]
    show.print_table(("name", "labels"), rows)


@app.command("ls")
def list_models(data: flags.Data = flags.DATA, as_json: flags.Json = False) -> None:
    """List the built-in model and those that were checked for this data folder."""
    from engine.checking.card import all_cards
    from engine.vision.backbone.card import read_card
    from engine.vision.backbone.locate import BUILTIN

    cards, told = all_cards(data), read_card()
    about, licence, size = told.about, told.licence, (BUILTIN / "model.safetensors").stat().st_size
    if as_json:
        own = {"model": "builtin", "size_bytes": size, "licence": licence, "good_for": about}
        show.print_json({"builtin": own, "checked": [card.as_dict() for card in cards]})
        return
    rows = [("builtin", f"{size / 2**20:.1f} MiB", licence, "", "", about)]
    for card in cards:
        size_told = f"{card.size_bytes / 2**20:.1f} MiB" if card.size_bytes else "unknown"
        known = size_told, card.weights.licence or "unknown"
        rows.append((card.model, *known, card.times.speed, card.checked_at, card.good_for))
    show.print_table(("model", "size", "licence", "speed here", "checked", "good for"), rows)


@app.command("check")
def check(
    model: Annotated[
        str, typer.Argument(help="builtin, a folder, or a hub id: [hf:]ID[@REVISION].")
    ],
    videos: Annotated[
        Path | None, typer.Option(help="Folder of your own videos; without, made-up clips.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Card to write, .json, rather than in the data folder.")
    ] = None,
    limits: Annotated[
        Path | None,
        typer.Option(help="Calibrate the early gate on the frames too, and write its limits here."),
    ] = None,
    max_drift: flags.MaxDrift = 0.02,
    most: Annotated[int, typer.Option(help="Videos to look at, at most.", min=1)] = 4,
    frames: Annotated[int, typer.Option(help="Frames of each video.", min=2)] = 9,
    dtype: Annotated[
        Type, typer.Option(help="What is computed in; auto: as ingests do.")
    ] = Type.AUTO,
    device: flags.Device = "auto",
    data: flags.Data = flags.DATA,
    as_json: flags.Json = False,
) -> None:
    """Try a checkpoint out before anything rests on it, and write its card.

    Its files, its words, its forward beside transformers', its numbers, its speed here.
    """
    import torch

    from engine.checking.card import save_card
    from engine.checking.check import Tryout, check_model
    from engine.storage.layout import Layout

    trial = Tryout(
        videos=videos,
        streams=most,
        frames=frames,
        device=device,
        dtype=None if dtype == Type.AUTO else getattr(torch, dtype),
        limits=limits,
        max_drift=max_drift,
    )
    card = check_model(model, trial, _tell)
    path = out or Layout(data).card(card.space)
    save_card(card, path)
    if as_json:
        show.print_json({"card": path, **card.as_dict()})
        return
    for line in card.lines():
        show.out.print(escape(line), soft_wrap=True)
    show.out.print(f"[dim]written to {escape(str(path))}, in words to {path.stem}.md[/]")


@app.command("migrate")
def migrate(
    source: Annotated[
        str, typer.Argument(help="Model, or key of the space, that videos are embedded by so far.")
    ],
    to: Annotated[str, typer.Argument(help="Model that queries ask once it is complete.")],
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the earlier space once queries have turned.")
    ] = False,
    device: flags.Device = "auto",
    data: flags.Data = flags.DATA,
    as_json: flags.Json = False,
) -> None:
    """Embed everything anew by another model; queries turn to it in one step, when it is complete.

    Broken off, nothing has changed for who asks, and the same command goes on where it stopped.
    """
    from api.cli.connect import connect
    from api.cli.ingest import Bars
    from api.cli.own_jobs import job_of
    from engine.client import Client

    with connect(data, to, device) as engine:
        if isinstance(engine, Client):
            _told_by_server(engine.migrate(to, source=source, remove=remove), to, as_json=as_json)
            return
        request = {"migrate": {"to": to, "source": source, "remove": remove}}
        with job_of(engine.job_records, "migrate", request) as ended:
            with Bars(quiet=as_json) as bars:
                report = engine.migrate(source=source, remove=remove, progress=bars)
            ended(None if report.switched else "cancelled" if report.interrupted else "failed")
    if as_json:
        show.print_json(report.as_dict())
    else:
        for name, reason in report.failed:
            show.err.print(f"[red]{escape(name)}:[/] {escape(reason)}", soft_wrap=True)
        if report.switched:
            said = f"{report.videos} videos, {report.frames} frames embedded: queries use"
            show.out.print(escape(f"{said} {report.target} now; DEJAVU_MODEL={to}"))
            show.out.print("" if report.removed else escape(f"{report.source} is kept"), end="\n")
        else:
            why = "broken off" if report.interrupted else f"{len(report.failed)} videos failed"
            show.out.print(escape(f"{why}: queries still use {report.source}"))
    raise typer.Exit(130 if report.interrupted else 0 if report.switched else 3)


def _told_by_server(job: "Job", to: str, *, as_json: bool) -> None:
    """Tell what became of a move that a server made."""
    if as_json:
        show.print_json({"job": job.job_id, "status": job.status, "error": job.error})
    elif job.status == "ready":
        show.out.print(escape(f"queries of the server use {to} now; DEJAVU_MODEL={to}"))
    else:
        why = job.error or f"the job is {job.status}"
        show.err.print(f"[red]{escape(why)}[/]", soft_wrap=True)
        show.out.print("queries are answered as before; the same command goes on where it stopped")
    if job.status != "ready":
        raise typer.Exit(130 if job.status == "cancelled" else 3)


def _tell(what: str) -> None:
    show.err.print(f"[dim]{escape(what)}[/]", soft_wrap=True)
