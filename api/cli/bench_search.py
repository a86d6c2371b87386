"""`bench` of searches and labels: vectors, SQL over them, matches, moments, actions."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli import flags, show

app = typer.Typer()


@app.command()
def search(
    size: flags.Sizes = None,
    texts: Annotated[Path | None, typer.Option(help="Real text vectors, .npy.")] = None,
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Search stores of 10⁴, 10⁵ and 10⁶ vectors: time, recall, memory."""
    from engine.evaluation.bench import search as search_bench

    with show.err.status("searching"):
        report = search_bench.run(sizes=size or (10_000, 100_000, 1_000_000), texts=texts)
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def query(
    size: flags.Sizes = None,
    queries: Annotated[int, typer.Option(help="Queries of a top-k; scans take a tenth.")] = 100,
    folder: Annotated[Path | None, typer.Option(help="Keep what is written, and go on.")] = None,
    seed: Annotated[int, typer.Option(help="Of the vectors and the queries.")] = 0,
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Run SQL over 10⁵ and 10⁶ vectors beside the index alone, LanceDB and DuckDB."""
    from engine.evaluation.bench import query as query_bench

    with show.err.status("querying"):
        report = query_bench.run(
            sizes=size or (100_000, 1_000_000), queries=queries, folder=folder, seed=seed
        )
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def store(
    videos: Annotated[int, typer.Option(help="How many.", min=2)] = 1000,
    folder: Annotated[Path | None, typer.Option(help="A store that was made here before.")] = None,
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Open, list, prove, fold and back up a store of many small videos."""
    from engine.evaluation.bench import store as store_bench

    with show.err.status("measuring"):
        report = store_bench.run(folder, videos=videos)
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def match(
    clips: flags.Clips = 40,
    seed: int = 7,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Look how often a bare CLIP_MATCH is wrong, against the rate that was asked for."""
    from engine.evaluation.bench import match as match_bench

    with show.err.status("matching"):
        report = match_bench.run(model=model, device=device, clips=clips, seed=seed)
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def moments(
    clips: flags.Clips = 60,
    seed: int = 23,
    workers: flags.Workers = 2,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Hold the best moment of a video against the times at which a text is true."""
    from engine.evaluation.bench import moments as moments_bench

    with show.err.status("finding moments"):
        report = moments_bench.run(
            model=model, device=device, clips=clips, seed=seed, workers=workers
        )
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def actions(
    clips: Annotated[int, typer.Option(help="Made-up clips of the test split.", min=9)] = 450,
    seed: int = 7,
    threshold: Annotated[
        float | None, typer.Option(help="By run-length tokens, dropped at this; none: by all.")
    ] = None,
    model: Annotated[str, typer.Option(help="builtin, a folder or a hub id.")] = "builtin",
    device: flags.Device = "auto",
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Classify coded clips in which one thing moves: how often the likeliest label is right."""
    from engine.evaluation.bench import actions as actions_bench

    with show.err.status("classifying"):
        report = actions_bench.run(
            model=model, device=device, clips=clips, seed=seed, threshold=threshold
        )
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def detect(
    clips: Annotated[int, typer.Option(help="Made-up clips.", min=1)] = 120,
    seed: int = 7,
    split: Annotated[str, typer.Option(help="test, or val to choose settings by.")] = "test",
    fps: Annotated[float, typer.Option(help="Frames a second, of 12.", min=0.5, max=12)] = 4.0,
    keep: Annotated[
        list[float] | None, typer.Option(help="Share of the patches, beside dense; repeatable.")
    ] = None,
    every: Annotated[int, typer.Option(help="Frames from full to full; 0: never.", min=0)] = 12,
    model: Annotated[str, typer.Option(help="builtin, a folder or a hub id.")] = "builtin",
    device: flags.Device = "auto",
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Find things in coded clips, dense and pruned: mean average precision at half overlap."""
    from engine.evaluation.bench import detect as detect_bench

    with show.err.status("detecting"):
        report = detect_bench.run(
            model=model,
            device=device,
            clips=clips,
            seed=seed,
            split=split,
            fps=fps,
            keep=keep or (),
            every=every,
        )
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def video(
    tower: Annotated[str, typer.Option(help="B/16 or Ti/8.")] = "B/16",
    clips: Annotated[int, typer.Option(help="At once.", min=1)] = 32,
    keep: Annotated[
        list[float] | None, typer.Option(help="Share of the tokens; repeatable.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1)] = 10,
    device: flags.Device = "auto",
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Time a video model by run-length tokens beside dense: inference and a step of training."""
    from engine.evaluation.bench import video as video_bench

    with show.err.status("classifying"):
        report = video_bench.run(
            tower=tower,
            device=device,
            clips=clips,
            keep=keep or (1.0, 0.7, 0.5, 0.3),
            repeats=repeats,
        )
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def rollout(
    tower: Annotated[
        list[str] | None, typer.Option(help="L/14, B/16, Ti/16 or 'ViTDet-B 672'; repeatable.")
    ] = None,
    streams: Annotated[int, typer.Option(help="Side by side.", min=1)] = 16,
    every: Annotated[int, typer.Option(help="Frames from full to full.", min=2)] = 8,
    repeats: Annotated[int, typer.Option(min=1)] = 5,
    device: flags.Device = "auto",
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Time rollout-guided pruning beside dense: a frame tower, and a detector's with buffers."""
    from engine.evaluation.bench import rollout as rollout_bench

    with show.err.status("encoding"):
        report = rollout_bench.run(
            towers=tuple(tower or ("L/14", "ViTDet-B 672")),
            device=device,
            streams=streams,
            every=every,
            repeats=repeats,
        )
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def coverage(
    clips: flags.Clips = 40,
    seed: int = 7,
    queries: flags.Queries = 200,
    gop: Annotated[float, typer.Option(help="Seconds of a group of pictures.")] = 4.0,
    split: Annotated[str, typer.Option(help="test, or val to choose settings by.")] = "test",
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Ask a store of first frames for what dense rows answer, and count what it embeds."""
    from engine.evaluation.bench import coverage as coverage_bench
    from engine.world.splits import check_split

    with show.err.status("asking"):
        report = coverage_bench.run(
            model=model,
            device=device,
            clips=clips,
            seed=seed,
            num_queries=queries,
            gop_seconds=gop,
            split=check_split(split),
        )
    show.print_report(report, as_json=as_json, path=out)


@app.command()
def estimates(
    clips: flags.Clips = 18,
    queries: flags.Queries = 20,
    seed: int = 1,
    model: flags.ModelName = "builtin",
    out: flags.OutFile = None,
    as_json: flags.Json = False,
) -> None:
    """Hold estimates of decoding and encoding against what queries took, from none known."""
    from engine.evaluation.bench import estimates as estimates_bench

    with show.err.status("asking"):
        report = estimates_bench.run(clips=clips, queries=queries, seed=seed, model=model)
    show.print_report(report, as_json=as_json, path=out)
