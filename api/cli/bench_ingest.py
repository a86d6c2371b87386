"""`bench decode` and `bench ingest`: from files to frames, and to rows."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli import flags, show

app = typer.Typer()


@app.command()
def decode(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files; a made-up one without.")
    ] = None,
    fps: flags.Fps = 2.0,
    rounds: int = 5,
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Decode and sample, beside a plain loop over the decoder."""
    from engine.evaluation.bench import decode as decode_bench

    with show.err.status("decoding"):
        report = decode_bench.run(paths or (), fps=fps, rounds=rounds)
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def ingest(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files; without, one made up.")] = None,
    strategy: flags.StrategyName = "dense",
    end_to_end: Annotated[
        bool,
        typer.Option(
            "--end-to-end",
            help="Files to rows by every way, beside a plain loop; --strategy reuses (earlygate).",
        ),
    ] = False,
    max_drift: flags.MaxDrift = 0.02,
    fps: flags.Fps = 2.0,
    seed: int = 0,
    rounds: int = 3,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    bf16: Annotated[
        bool, typer.Option("--bf16", help="With --end-to-end: ours in bf16 on a CPU too.")
    ] = False,
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Ingest, beside what decoding alone and encoding alone reach; peak memory."""
    from engine.evaluation.bench import end_to_end as whole_bench
    from engine.evaluation.bench import ingest as ingest_bench

    if end_to_end:
        gates = "earlygate" if strategy == "dense" else strategy
        with show.err.status("ingesting by every way"):
            report = whole_bench.run(
                paths or (), seed=seed, model=model, device=device, fps=fps, max_drift=max_drift,
                gates=gates, rounds=rounds, precision="bf16" if bf16 else "auto",
            )  # fmt: skip
        show.print_report(report, as_json=as_json, path=out)
        return
    with show.err.status("ingesting"):
        report = ingest_bench.run(
            paths or (), model=model, device=device, strategy=strategy, rounds=rounds
        )
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def packets(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files; without, made-up cameras coded four ways.")
    ] = None,
    seed: int = 0,
    cameras: Annotated[int, typer.Option(help="Made-up ones.", min=1)] = 2,
    max_drift: flags.MaxDrift = 0.02,
    fps: flags.Fps = 2.0,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Rank groups of pictures by their packets; draw the decode gate's audit many times."""
    from engine.evaluation.bench import packets as packets_bench

    with show.err.status("embedding every frame"):
        report = packets_bench.run(
            paths or (), seed=seed, cameras=cameras, model=model, device=device, fps=fps,
            max_drift=max_drift,
        )  # fmt: skip
    show.print_report(report, as_json=as_json, path=out)
