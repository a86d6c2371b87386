"""`bench`: every measured figure, one command each."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from api.cli import bench_ingest, bench_search, flags, show
from engine.errors import UsageError

app = typer.Typer(help="Measure: ratios within one run, medians.", no_args_is_help=True)
app.registered_commands += bench_ingest.app.registered_commands
app.registered_commands += bench_search.app.registered_commands


@app.command()
def reuse(
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Time ReuseViT on B/16 and L/14 shapes against dense, on this CPU."""
    from engine.evaluation.bench import reuse as reuse_bench

    with show.err.status("measuring"):
        report = reuse_bench.run()
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def ask(
    clips: flags.Clips = 60,
    seed: int = 23,
    workers: flags.Workers = 2,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Count right answers, from vectors and by looking, and questions put to the right video."""
    from engine.evaluation.bench import asking as asking_bench

    with show.err.status("asking"):
        report = asking_bench.run(
            model=model, device=device, clips=clips, seed=seed, workers=workers
        )
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def shown(
    clips: flags.Clips = 64,
    seed: int = 31,
    fit: Annotated[
        Path | None, typer.Option(help="Write a curve fitted on other clips here.")
    ] = None,
    workers: flags.Workers = 2,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Count how often "nothing like this is here" is known, and hold probabilities to account."""
    from engine.evaluation.bench import shown as shown_bench

    with show.err.status("asking"):
        report = shown_bench.run(
            model=model, device=device, clips=clips, seed=seed, workers=workers, fit=fit
        )
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def encode(
    device: Annotated[str, typer.Option(help="A CUDA device.")] = "cuda",
    tower: Annotated[list[str] | None, typer.Option(help="L/14 or B/16.")] = None,
    streams: int = 64,
    only: flags.OnlyStrategies = None,
    repeats: int = 20,
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Time whole forwards on a GPU: dense, the reuse strategies, the paper's kind of baseline."""
    from engine.evaluation.bench import encode as encode_bench

    report = encode_bench.run(
        tuple(tower or ("L/14", "B/16")),
        device=device,
        streams=streams,
        only=tuple(only or ()),
        repeats=repeats,
    )
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def multigpu(
    gpus: Annotated[list[int] | None, typer.Option(help="How many; repeatable.", min=1)] = None,
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    tower: Annotated[str | None, typer.Option(help="L/14, B/16 or Ti/16.")] = None,
    only: flags.OnlyStrategies = None,
    stretches: Annotated[int | None, typer.Option(help="For each GPU.", min=1)] = None,
    lanes: Annotated[int | None, typer.Option(help="Side by side on each GPU.", min=1)] = None,
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Encode on 1, 2, … GPUs of one host, or with --device cpu in so many processes, to try it out.

    Without --tower, --stretches and --lanes: L/14, 640 and 64; on a CPU Ti/16, 1 and 1.
    """
    from engine.evaluation.bench import multigpu as multigpu_bench

    with show.err.status("encoding"):
        report = multigpu_bench.run(
            tuple(gpus or (1, 2)),
            model=tower,
            strategies=tuple(only or multigpu_bench.STRATEGIES),
            stretches=stretches,
            lanes=lanes,
            device=device,
        )
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def streams(
    clips: flags.Clips = 128,
    strategy: Annotated[
        list[str] | None, typer.Option(help="Beside dense: reusevit, earlygate, …; repeatable.")
    ] = None,
    rounds: int = 3,
    workers: flags.Workers = 2,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Encode made-up clips by a trained model as ingests do: real rates, reuse and drift."""
    from engine.evaluation.bench import streams as streams_bench

    with show.err.status("encoding"):
        report = streams_bench.run(
            model=model,
            device=device,
            strategies=strategy or streams_bench.NAMES,
            clips=clips,
            rounds=rounds,
            workers=workers,
        )
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def strategies(
    clips: flags.Clips = 200,
    seed: int = 7,
    parts: Annotated[
        list[Path] | None,
        typer.Option(help="earlygate-NAME or reusevit-NAME-TARGET .safetensors; repeatable."),
    ] = None,
    weights: flags.PlainWeights = None,
    videos: flags.PlainVideos = None,
    limits: flags.PlainLimits = None,
    rates: Annotated[Path | None, typer.Option(help="DiffRate's lists, JSON.")] = None,
    rates_model: Annotated[str | None, typer.Option(help="Whose lists, as ViT-T-DeiT.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Of the families or settings; repeatable.")
    ] = None,
    split: Annotated[str, typer.Option(help="Of the world: val or test.")] = "test",
    read: Annotated[
        list[Path] | None,
        typer.Option(help="Show what --out wrote once more; repeated: with others' families."),
    ] = None,
    times: Annotated[
        Path | None, typer.Option(help="Take times from this one, of the settings that it has.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Folder for the pictures.")] = None,
    workers: flags.Workers = 2,
    processes: Annotated[
        int, typer.Option(help="That encode side by side, a share of the clips each.", min=1)
    ] = 1,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Compare all strategies: arithmetic and time saved against drift and what each task loses."""
    from engine.evaluation.bench import natural as natural_bench
    from engine.evaluation.bench import strategies as strategies_bench
    from engine.evaluation.compare import Comparison
    from engine.evaluation.plots import draw_comparison
    from engine.evaluation.tables import tabulate_comparison

    if (weights is None) != (videos is None):
        raise UsageError("--weights and --videos go together")
    with show.err.status("encoding by every strategy"):
        if read:
            found, *others = (Comparison.read(path) for path in read)
            for other in others:
                found = found.beside(other)
        elif weights is not None and videos is not None:
            found = natural_bench.run(
                weights,
                videos,
                limits=limits,
                rates=rates,
                rates_model=rates_model,
                only=only or (),
            )
        else:
            found = strategies_bench.run(
                model=model,
                device=device,
                clips=clips,
                seed=seed,
                split=split,  # type: ignore[arg-type]
                parts=parts or (),
                rates=rates,
                rates_model=rates_model,
                only=only or (),
                workers=workers,
                processes=processes,
            )
    if times is not None:
        found = found.timed_by(Comparison.read(times))
    if plots is not None:
        draw_comparison(found, plots)
    show.print_report(tabulate_comparison(found), as_json=as_json, path=out)


@app.command()
def precision(
    clips: flags.Clips = 60,
    seed: int = 7,
    weights: flags.PlainWeights = None,
    videos: flags.PlainVideos = None,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Drift and answers in bf16 and fp8, by their definitions in plain PyTorch."""
    from engine.evaluation.bench import precision as precision_bench

    if (weights is None) != (videos is None):
        raise UsageError("--weights and --videos go together")
    with show.err.status("encoding in every precision"):
        if weights is not None and videos is not None:
            report = precision_bench.run_plain(weights, videos)
        else:
            report = precision_bench.run(model=model, device=device, clips=clips, seed=seed)
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def bound(
    clips: flags.Clips = 40,
    seed: int = 7,
    max_drift: flags.MaxDrift = 0.02,
    weights: flags.PlainWeights = None,
    videos: Annotated[
        Path | None, typer.Option(help="Folder of videos instead of made-up clips.")
    ] = None,
    limits: flags.PlainLimits = None,
    fps: flags.Fps = 2.0,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Made-up streams instead, 200 drawn of each kind.")
    ] = False,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Hold strategies under the drift bound and check every frame whether it was kept."""
    from engine.evaluation.bench import bound as bound_bench

    if weights is not None and videos is None:
        raise UsageError("--weights goes with --videos")
    if simulate and (weights or videos):
        raise UsageError("--simulate needs no model and no videos, got --weights or --videos")
    with show.err.status("encoding under the bound"):
        if simulate:
            from engine.evaluation.bench import sequences
            from engine.evaluation.bench import simulate as simulation

            report = simulation.run(seed=seed, max_drift=max_drift)
            report = replace(report, more=(sequences.run(seed=seed),))
        elif weights is not None and videos is not None:
            report = bound_bench.run_plain(
                weights, videos, limits=limits, fps=fps, max_drift=max_drift
            )
        else:
            report = bound_bench.run(
                model=model,
                device=device,
                clips=clips,
                seed=seed,
                max_drift=max_drift,
                videos=videos,
                fps=fps,
            )
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def calibrate(
    weights: Annotated[Path, typer.Option(help="A plain ViT, .npz in timm's names.")],
    videos: Annotated[Path, typer.Option(help="Folder of videos.")],
    fps: flags.Fps = 2.0,
    frames: Annotated[int, typer.Option(help="Of each video, at most.")] = 80,
    folds: int = 3,
    rounds: Annotated[int, typer.Option(help="Passes over groups of layers.")] = 0,
    max_drift: flags.MaxDrift = 0.02,
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Calibrate the gate on some videos and judge it on the others."""
    from engine.evaluation.bench import calibrate as calibrate_bench

    with show.err.status("calibrating"):
        report = calibrate_bench.run_plain(
            weights,
            videos,
            fps=fps,
            frames=frames,
            folds=folds,
            rounds=rounds,
            max_drift=max_drift,
        )
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def refine(
    clips: flags.Clips = 40,
    seed: int = 7,
    queries: flags.Queries = 200,
    scale: Annotated[float, typer.Option(help="Of the limits of the gate that stores.")] = 1.0,
    threshold: Annotated[
        float | None, typer.Option(help="Store by an untrained gate of this threshold instead.")
    ] = None,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Look how much of the dense answer refinement gives back, and what it costs."""
    from engine.evaluation.bench import refine as refine_bench

    with show.err.status("asking"):
        report = refine_bench.run(
            model=model,
            device=device,
            clips=clips,
            seed=seed,
            num_queries=queries,
            scale=scale,
            threshold=threshold,
        )
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def startup(
    data: Annotated[
        Path | None, typer.Option(help="A data folder; without, one is made.", exists=True)
    ] = None,
    rounds: int = 5,
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Time and memory of commands that have little to do, each in a process of its own."""
    from engine.evaluation.bench import startup as startup_bench

    with show.err.status("starting"):
        report = startup_bench.run(data, rounds=rounds)
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def cage(rounds: int = 15, out: flags.OutFile = None, as_json: flags.Json = False) -> None:
    """What it costs that SQL computes in processes of its own, by rows."""
    from engine.evaluation.bench import cage as cage_bench

    with show.err.status("asking"):
        report = cage_bench.run(rounds=rounds)
    show.print_report(report, as_json=as_json, path=out)
