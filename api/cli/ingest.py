"""`ingest`: videos in, with a bar for every stage."""

import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from api.cli import flags, show
from api.cli.connect import connect
from api.cli.foresee import Chooser, tell
from engine.client import Client
from engine.errors import EngineError, UsageError

if TYPE_CHECKING:
    from engine.ingesting.report import Event, IngestReport, VideoReport

STAGES = ("decode", "encode", "write")
_LINE_SECONDS = 5.0


def ingest(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Files, folders, globs, s3://…; --retry needs none.")
    ] = None,
    fps: flags.Fps = 2.0,
    strategy: flags.StrategyName = "auto",
    max_drift: flags.DriftBound = "0.02",
    parts: flags.Parts = None,
    option: flags.Options = None,
    workers: Annotated[
        int | None, typer.Option(help="Decoding threads; one per core by default.", min=1)
    ] = None,
    decoder: flags.DecoderName = "auto",
    devices: flags.Devices = "",
    ray: flags.RayAddress = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the ingest by --ray that broke off, as asked."),
    ] = False,
    decode_gate: flags.DecodeGate = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace stored rows that are finer than these, too.")
    ] = False,
    coverage: Annotated[
        str,
        typer.Option(help="all; keys: one frame of each group of pictures; none: only register."),
    ] = "all",
    include: Annotated[
        list[str] | None,
        typer.Option(help="Only files whose name, or a folder of it, matches a glob; repeatable."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="No files whose name or folder matches; repeatable.")
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Only videos that are quarantined, again.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Tell what would be ingested, and write nothing at all."),
    ] = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Stay, and ingest what appears or changes, until Ctrl-C."),
    ] = False,
    rest: Annotated[
        float, typer.Option(help="Seconds for which a watched file has to stay as it is.")
    ] = 5.0,
    data: flags.Data = flags.DATA,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Embed videos. What is stored already costs nothing; Ctrl-C commits and the next run goes on.

    Rows that are finer than asked for are kept, and that is said, unless --replace is given.

    Exit code 3: done, but some videos were quarantined.
    """
    from engine.ingesting.report import bound_of
    from engine.vision.registry import read_options

    bound, chosen = bound_of(max_drift), read_options(option or ())
    given: float | Literal["none"] = "none" if bound is None else bound
    chooser = Chooser(
        paths or (), include or (), exclude or (), retry=retry, watch=watch, resume=resume
    )
    if resume and (ray is None or paths):
        wrong = "with paths, which are on record" if paths else "without --ray"
        raise UsageError(f"--resume {wrong}; allowed: --ray ADDRESS --resume")
    if watch and (dry_run or retry):
        raise UsageError(f"--watch and {'--dry-run' if dry_run else '--retry'}; allowed: one")
    if dry_run:
        sampled = {"fps": fps, "strategy": strategy, "coverage": coverage, "replace": replace}
        tell(chooser, data, model, device, sampled, as_json=as_json)
        return
    with connect(data, model, device, create=True) as engine:
        if isinstance(engine, Client):
            own = {
                "--option": chosen,
                "--parts": parts,
                "--workers": workers,
                "--decoder": decoder != "auto",
                "--devices": devices,
                "--ray": ray,
                "--retry": retry,
                "--watch": watch,
            }
            if named := [flag for flag, wanted in own.items() if wanted]:
                which = f"{', '.join(named)} {'is' if len(named) == 1 else 'are'}"
                said = "for an engine of this process; a server runs on the folder"
                raise UsageError(f"{which} {said}")
            options = {"fps": fps, "strategy": strategy, "max_drift": given}
            options |= {"replace": True} if replace else {}
            options |= {"coverage": coverage} if coverage != "all" else {}
            options |= {"decode_gate": True} if decode_gate else {}
            globs = {"include": list(chooser.include), "exclude": list(chooser.exclude)}
            options |= {name: listed for name, listed in globs.items() if listed}
            code = _by_server(engine, chooser.paths, options, as_json=as_json)
            raise typer.Exit(code)
        run = partial(
            engine.ingest,
            fps=fps,
            strategy=strategy,
            max_drift=given,
            parts=parts,
            options=chosen,
            workers=workers,
            decoder=decoder,  # type: ignore[arg-type]  # any text; the options check it
            devices=devices,
            ray=ray,
            decode_gate=decode_gate,
            replace=replace,
            coverage=coverage,  # type: ignore[arg-type]  # likewise
        )
        if watch:
            from api.cli.watch import watch as keep_watch

            code = keep_watch(engine, chooser, rest, lambda found: run([found]), as_json=as_json)
            raise typer.Exit(code)
        with Bars(quiet=as_json) as bars:
            if ray is not None and resume:
                report = engine.resume(ray, progress=bars)
            else:
                report = run(chooser.files(engine), progress=bars)
    if as_json:
        show.print_json(report.as_dict())
    else:
        print_report(report, retried=retry)
        print_nodes(report)
    raise typer.Exit(130 if report.interrupted else 3 if report.quarantined else 0)


def register(
    paths: Annotated[list[str], typer.Argument(help="Files, folders, globs, s3://BUCKET/FOLDER.")],
    data: flags.Data = flags.DATA,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Put videos on record without embedding them; statements embed what they need of them."""
    with connect(data, model, device, create=True) as engine:
        if isinstance(engine, Client):
            code = _by_server(engine, paths, {"coverage": "none"}, as_json=as_json)
            raise typer.Exit(code)
        report = engine.register(paths)
    if as_json:
        show.print_json(report.as_dict())
    else:
        print_report(report)
    raise typer.Exit(3 if report.quarantined else 0)


def deepen(
    seconds: Annotated[
        float | None, typer.Option(help="For at most so long; without it, until all is embedded.")
    ] = None,
    data: flags.Data = flags.DATA,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Embed what videos lack that were ingested with --coverage keys, most changed places first."""
    with connect(data, model, device) as engine:
        if isinstance(engine, Client):
            job = engine.deepen(seconds=seconds)
            done = dict(job.progress or {})
            if job.status != "ready":
                raise EngineError(job.error or f"the job is {job.status}")
        else:
            done = engine.deepen(seconds=seconds).as_dict()
    if as_json:
        show.print_json(done)
        return
    show.out.print(
        f"{done['frames']:,} frames of {done['gops']:,} groups of pictures embedded in"
        f" {done['seconds']:.1f} s; {done['left_gops']:,} groups left, {done['left_seconds']:.0f} s"
    )


class Bars:
    """A bar for each stage; without a terminal a line every few seconds."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._drawn = show.err.is_terminal and not quiet
        self._lock = threading.Lock()
        self._last = time.monotonic()
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description:>7}"),
            BarColumn(bar_width=32),
            TextColumn("{task.completed:>6,.0f}/{task.total:,.0f} frames"),
            TextColumn("{task.fields[rate]:>7.1f}/s"),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(compact=True),
            console=show.err,
            disable=not self._drawn,
        )

    def __enter__(self) -> "Bars":
        """Start drawing."""
        self._progress.start()
        if self._drawn:
            for stage in STAGES:
                self._tasks[stage] = self._progress.add_task(stage, total=1, rate=0.0, note="")
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bars as they stand."""
        self._progress.stop()

    def report(self, event: "Event") -> None:
        """Draw an event."""
        note = f"{event.reuse_rate:.0%} reused" if event.reuse_rate is not None else ""
        with self._lock:
            if self._drawn:
                self._progress.update(
                    self._tasks[event.stage],
                    completed=event.frames,
                    total=max(event.expected, event.frames, 1),
                    rate=event.frames_per_second,
                    note=note if event.stage == "encode" else "",
                )
            elif time.monotonic() - self._last > _LINE_SECONDS:
                self._last = time.monotonic()
                eta = "" if event.eta_seconds is None else f", {event.eta_seconds:.0f} s left"
                by_node = "".join(f", {name} {rate:.1f}/s" for name, rate in event.nodes)
                show.err.print(
                    f"{event.stage} {event.frames}/{event.expected} frames, "
                    f"{event.frames_per_second:.1f}/s {note}{eta}{escape(by_node)}"
                    f" ({escape(event.video)})"
                )

    def stopped(self) -> bool:
        """Never stop by itself; Ctrl-C is heard by the ingest."""
        return False


def print_report(report: "IngestReport", *, retried: bool = False) -> None:
    """Print what an ingest did, by video, and what it cost."""
    rows = [
        (
            video.name,
            video.outcome,
            video.rows,
            video.strategy,
            f"{video.reuse_rate:.1%}" if video.frames else None,
            video.drift,
            round(video.macs_dense / video.macs, 2) if video.macs else None,
        )
        for video in report.videos
    ]
    if not rows and retried:
        show.out.print("no video of those is quarantined")
        return
    if not rows:
        show.out.print("no videos there; a folder gives the files that are called like videos")
        return
    columns = ("video", "outcome", "rows", "strategy", "reused", "drift", "MACs ×")
    show.print_table(columns, rows)
    show.print_reasons((video.name, each) for video in report.videos for each in _wrong(video))
    known = sum(video.outcome == "known" for video in report.videos)
    parts = [f"{report.frames:,} frames embedded in {report.seconds:.1f} s on {report.device}"]
    parts += [f"{known} videos were stored already"] if known else []
    parts += [f"{report.reuse_rate:.1%} of tokens reused"] if report.frames else []
    parts += [f"{len(report.quarantined)} quarantined"] if report.quarantined else []
    show.out.print(f"[bold]{', '.join(parts)}[/]")
    if report.frames:
        _print_choices(report)
        show.out.print(f"[dim]drift promised: {report.promise}[/]")
        show.out.print(f"[dim]decoder: {escape(report.decoder)}[/]")
        for video in report.videos:
            if video.gate:
                show.out.print(f"[dim]decode gate: {escape(f'{video.name}: {video.gate}')}[/]")
    for video in report.videos:
        if video.transcript:
            show.out.print(f"[dim]said in {escape(f'{video.name}: {video.transcript}')}[/]")
    show.print_caution(report.caution if report.rows else None)
    if report.resume:
        show.out.print(f"[yellow]{report.resume}[/]")


def print_nodes(report: "IngestReport") -> None:
    """Print what each node of a cluster did, and what an hour of video cost."""
    if not report.nodes:
        return
    rows = [
        (node.name, node.frames, round(node.frames_per_second, 1), node.decoded, node.lost)
        for node in report.nodes
    ]
    show.print_table(("node", "frames", "frames/s", "decoded", "processes lost"), rows)
    show.print_reasons((node.name, node.reason) for node in report.nodes if node.reason)
    if (cost := report.device_seconds_per_hour) is not None:
        show.out.print(f"[dim]{cost:.1f} seconds of encoders for an hour of video[/]")


def _wrong(video: "VideoReport") -> list[str]:
    """Why a video, or which part of it, could not be used, and what became of older rows."""
    if video.reason:
        return [video.reason]
    said = [f"{video.name}: {video.note}"] if video.note else []
    return said + [
        f"{video.name}: {part.start_seconds:.1f}–{part.stop_seconds:.1f} s missing, {part.reason}"
        for part in video.missing
    ]


def _print_choices(report: "IngestReport") -> None:
    """Print which strategy served, and what `auto` weighed."""
    if not report.choices:
        show.out.print(f"[dim]strategy: {escape(report.choice)}[/]")
        return
    rows = [
        (
            choice["kind"],
            each["strategy"],
            "yes" if each["strategy"] == choice["strategy"] else "",
            round(1e3 * each["seconds"], 2),
            round(1 / each["macs"], 2),
            each["drift"],
            each["worst"],
        )
        for choice in report.choices
        for each in choice["weighed"]
    ]
    columns = ("content", "strategy", "chosen", "ms/frame", "MACs ×", "drift", "worst video")
    show.print_table(columns, rows, title="What auto weighed, audits included")


def _by_server(
    server: Client, paths: Sequence[str], options: Mapping[str, Any], *, as_json: bool
) -> int:
    """Have a server ingest; each path is one of its jobs."""
    ended, code = [], 0
    for path in paths:
        with show.err.status(escape(f"{path}: queued")) as status:

            def draw(progress: Mapping[str, Any], path: str = path, status: Any = status) -> None:
                if progress:
                    done = f"{progress.get('frames', 0)}/{progress.get('expected', 0)} frames"
                    status.update(escape(f"{path}: ") + f"{progress.get('stage', '')} {done}")

            try:
                job = show.plain(server.ingest(path, progress=draw, **options))
            except EngineError as error:
                job = {"status": "failed", "error": str(error)}
        ended.append({"path": str(path), "id": job.pop("job_id", None), **job})
        code = 3 if job["status"] == "failed" else code
        if not as_json:
            show.out.print(
                escape(f"{path}: ")
                + f"{job['status']}{': ' + job['error'] if job['error'] else ''}"
            )
    if as_json:
        show.print_json(ended)
    return code
