"""Flags that several commands share; each also reads a `DEJAVU_…` variable."""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path, typer.Option("--data", envvar="DEJAVU_DATA", help="Folder that holds everything stored.")
]
ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        envvar="DEJAVU_MODEL",
        help="builtin, a Hugging Face folder, or a hub id: [hf:]ID[@REVISION].",
    ),
]
Device = Annotated[
    str, typer.Option("--device", envvar="DEJAVU_DEVICE", help="auto, cpu, cuda or cuda:N.")
]
Json = Annotated[
    bool,
    typer.Option("--json", envvar="DEJAVU_JSON", help="Print one JSON document and nothing else."),
]
Videos = Annotated[
    list[str] | None, typer.Option("--video", help="Only these: name, id or glob; repeatable.")
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where", help="Only videos that meet a condition on their columns: \"camera = 'north'\"."
    ),
]
BudgetSeconds = Annotated[
    float | None, typer.Option("--budget-seconds", help="End the work after so many seconds.")
]
BudgetFrames = Annotated[
    int | None,
    typer.Option("--budget-frames", help="Embed and make exact at most so many frames.", min=0),
]
Clips = Annotated[int, typer.Option(help="Made-up clips.", min=1)]
Fps = Annotated[
    float, typer.Option("--fps", envvar="DEJAVU_FPS", help="Sampled frames per second.")
]
StrategyName = Annotated[
    str,
    typer.Option(
        "--strategy",
        envvar="DEJAVU_STRATEGY",
        help="auto, or a strategy's name, such as dense, earlygate, reusevit or tome.",
    ),
]
_DRIFT = typer.Option(
    "--max-drift",
    envvar="DEJAVU_MAX_DRIFT",
    help="Bound on the mean cosine drift of each video's vectors.",
)
MaxDrift = Annotated[float, _DRIFT]
DriftBound = Annotated[
    str,
    typer.Option(
        "--max-drift",
        envvar="DEJAVU_MAX_DRIFT",
        help="Bound on the mean cosine drift of each video's vectors; none: nothing is promised.",
    ),
]
DecoderName = Annotated[
    str,
    typer.Option(
        "--decoder",
        envvar="DEJAVU_DECODER",
        help="auto, pyav, or nvdec, the GPU's own; auto takes nvdec where there is one.",
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Decode and encode on a Ray cluster: HOST:PORT of its head, or auto for the one here.",
    ),
]
DecodeGate = Annotated[
    bool,
    typer.Option(
        "--decode-gate",
        envvar="DEJAVU_DECODE_GATE",
        help="Leave calm groups of pictures undecoded, by their packets, under the same bound.",
    ),
]
Devices = Annotated[
    str,
    typer.Option(
        "--devices",
        envvar="DEJAVU_DEVICES",
        help="Encode on several GPUs, a process each: all, or a list such as cuda:0,cuda:1.",
    ),
]
Parts = Annotated[
    Path | None,
    typer.Option(
        "--parts",
        envvar="DEJAVU_PARTS",
        help="Gate limits or reuse modules of your own: a file, or a folder of them.",
    ),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        help="NAME=VALUE of the strategy, or STRATEGY.NAME=VALUE of one of several; repeatable.",
    ),
]
Workers = Annotated[int, typer.Option("--workers", help="Processes or threads to use.", min=1)]
PlainWeights = Annotated[
    Path | None, typer.Option(help="A plain ViT, .npz in timm's names, instead of the model.")
]
PlainVideos = Annotated[Path | None, typer.Option(help="Folder of videos for it.")]
PlainLimits = Annotated[Path | None, typer.Option(help="Limits calibrated for it.")]
OnlyStrategies = Annotated[list[str] | None, typer.Option(help="Of the strategies; repeatable.")]
Queries = Annotated[int, typer.Option(min=1)]
Sizes = Annotated[list[int] | None, typer.Option(help="Vectors; repeatable.")]
OutFile = Annotated[Path | None, typer.Option("--out", help="Write the figures here as JSON.")]

DATA = Path("data")


def which(given: str) -> int | str:
    """Read an id where only digits are given, else a name or a glob."""
    return int(given) if given.isdecimal() else given
