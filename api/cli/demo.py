"""`demo`: the whole path on made-up clips, everything local, in one go."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

import engine
from api.cli import flags, show
from api.cli.answer import print_answer
from api.cli.ask import print_moments, write_table
from api.cli.demo_models import show_models
from api.cli.ingest import Bars, print_report
from engine.results import Moment, QueryResult

if TYPE_CHECKING:
    from engine.ingesting.report import IngestReport

STRATEGIES = ("dense", "reusevit", "earlygate")


@dataclass(frozen=True, slots=True)
class Script:
    """Which clips are made, and what is looked for in them."""

    seed: int  # of the first clip
    seconds: float
    redundancy: tuple[float, ...]  # of each clip: 1 is almost still, 0 hand-held
    text: str


SCRIPT = Script(
    seed=40,
    seconds=30.0,
    redundancy=(0.95, 0.9, 0.9, 0.85, 0.8, 0.6),
    # what a square turns into halfway through a clip, and where
    text="a large checkered purple square on a dusky grid",
)


@dataclass(frozen=True, slots=True)
class Told:
    """What the script of the clips says is true."""

    video: str
    span: tuple[float, float]  # when the text is true
    question: str
    choices: list[str]
    answer: str
    asked: str  # the video that the question is about


def demo(
    data: Annotated[Path, typer.Option("--data", help="Where everything goes.")] = Path(
        "demo-data"
    ),
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Make clips, ingest them, ask five things of them, and compare the ways to encode."""
    present(SCRIPT, data, device, as_json=as_json)


def present(script: Script, data: Path, device: str, *, as_json: bool = False) -> None:
    """Go through the demo; an answer that is not what the script says ends it with exit code 1."""
    with show.aside(as_json):
        told = run(script, data, device)
    if as_json:
        show.print_json(told)
    if not all(right for name, right in told.items() if name.endswith(("_is_right", "_are_right"))):
        raise typer.Exit(1)


def run(script: Script, data: Path, device: str) -> dict[str, Any]:
    """Go through the demo and return what came out of each step."""
    from engine.world.clip import make_clip
    from engine.world.make import write_world

    started = time.monotonic()
    videos = data / "videos"
    clips = [
        make_clip(script.seed + number, "test", duration_seconds=script.seconds, redundancy=each)
        for number, each in enumerate(script.redundancy)
    ]
    show.step("1", f"{len(clips)} clips of {script.seconds:.0f} s, made by code, into {videos}")
    with show.err.status("drawing and encoding"):
        world = json.loads(write_world(videos, clips, "test", script.seed).read_text())
    told = find_told(world, script.text)
    files = sorted(videos.glob("*.mp4"))
    show.out.print(f"[dim]{sum(f.stat().st_size for f in files) / 2**20:.1f} MiB of H.264[/]")

    with engine.Engine.open(data / "store", model="builtin", device=device) as opened:
        show.step(
            "2", "ingest by the early gate: what the last frames computed already is taken over"
        )
        with Bars() as bars:
            report = opened.ingest(files, strategy="earlygate", progress=bars)
        print_report(report)
        show.step("3", f'a text: "{script.text}"')
        found = opened.query(script.text, top_k=5)
        print_moments(found)
        good = _check_moment(found, told)
        show.step("4", "the same in SQL, beside what is known of the videos")
        statement = (
            "SELECT v.name, count(*) AS frames, max(CLIP_MATCH(f.frame, $text)) AS best\n"
            "FROM frames AS f JOIN videos AS v USING (video_id)\n"
            "WHERE v.duration_seconds > 3 GROUP BY v.name ORDER BY best DESC LIMIT 3"
        )
        show.out.print(f"[dim]{statement}[/]")
        best = opened.sql(statement, text=script.text).arrow()
        write_table(best, "table")
        show.step("5", f"a question: {told.question}")
        answered = opened.ask(told.question, told.choices, videos=[f"{told.asked}.mp4"])
        print_answer(answered, opened)
        show.mark(answered.text == told.answer, f"the script says: {told.answer}")
        models = show_models(opened, data / "motion")

    show.step("8", "the clips of step 1 by each way to encode, beside dense")
    compared = compare(files, data, script.text, told, device)
    seconds = time.monotonic() - started
    show.out.print(f"\n[bold]done in {seconds:.0f} s[/]. How to go on:")
    for line in (
        f"dejavu-engine serve --data {data / 'store'}      the page, on http://127.0.0.1:8000",
        "dejavu-engine ingest ~/Videos                    your own videos, into ./data",
        "dejavu-engine ingest ~/Videos --model openai/clip-vit-base-patch32",
        "    with a CLIP that has seen the world; the built-in model knows made-up clips only",
    ):
        show.out.print(f"  {line}", highlight=False, soft_wrap=True)
    return {
        "seconds": seconds,
        "store": data / "store",
        "ingest": report.as_dict(),
        "query": found,
        "moment_is_right": good,
        "sql": best.to_pylist(),
        "answer": answered,
        "answer_is_right": answered.text == told.answer,
        **models,
        "strategies": compared,
    }


def find_told(world: dict[str, Any], text: str) -> Told:
    """Look up in the script when the text is true, and a question on colours with its answer."""
    thing, _, place = text.partition(" on ")

    def fits(span: dict[str, Any]) -> bool:
        return thing in span["caption"] and span["caption"].endswith(place)

    clip = next(clip for clip in world["clips"] if any(map(fits, clip["spans"])))
    spans = [span for span in clip["spans"] if fits(span)]
    asked, question = next(
        (other, question)
        for other in world["clips"]
        for question in other["questions"]
        if question["kind"] == "colour"
    )
    return Told(
        video=clip["name"],
        span=(spans[0]["start_seconds"], spans[-1]["stop_seconds"]),
        question=question["text"],
        choices=question["choices"],
        answer=question["choices"][question["answer"]],
        asked=asked["name"],
    )


def compare(
    files: Sequence[Path], data: Path, text: str, told: Told, device: str
) -> list[dict[str, Any]]:
    """Ingest by each strategy into a store of its own and show time, cost, drift and answers.

    The stores go again: a second demo on the folder measures anew.
    """
    rows: list[dict[str, Any]] = []
    for strategy in STRATEGIES:
        with (
            TemporaryDirectory(dir=data, prefix=f"{strategy}-") as folder,
            engine.Engine.open(folder, model="builtin", device=device, exact=False) as opened,
        ):
            with show.err.status(f"encoding by {strategy}"):
                report = opened.ingest(files, strategy=strategy)
            found = opened.query(text, top_k=1)
            answered = opened.ask(told.question, told.choices, videos=[f"{told.asked}.mp4"])
        seconds = sum(video.encode_seconds for video in report.videos)
        dense = rows[0]["encode_seconds"] if rows else seconds
        rows.append(
            {
                "strategy": strategy,
                "encode_seconds": seconds,
                "time_ratio": dense / seconds if seconds else None,
                "macs_ratio": _ratio(report),
                "reuse_rate": report.reuse_rate,
                "drift": _drift(report),
                "best": found.moments[0],
                "answer": answered.text,
            }
        )
    columns = ("strategy", "encode s", "time ×", "MACs ×", "reused", "drift", "found", "answer")
    show.print_table(columns, [_shown(**row) for row in rows])
    return rows


def _shown(reuse_rate: float, best: Moment, answer: str, **figures: Any) -> tuple[Any, ...]:
    *start, drift = figures.values()
    place = f"{best.name} {show.clock(best.peak_seconds)}"
    return (*start, f"{reuse_rate:.1%}", drift, place, answer)


def _ratio(report: "IngestReport") -> float | None:
    done = sum(video.macs for video in report.videos)
    return round(sum(video.macs_dense for video in report.videos) / done, 2) if done else None


def _drift(report: "IngestReport") -> float | None:
    known = [(v.drift, v.frames) for v in report.videos if v.drift is not None and v.frames]
    total = sum(frames for _, frames in known)
    return sum(drift * frames for drift, frames in known) / total if total else None


def _check_moment(found: QueryResult, told: Told) -> bool:
    start, stop = told.span
    best = found.moments[0] if found.moments else None
    hit = (
        best is not None
        and best.name == f"{told.video}.mp4"
        and abs(best.start_seconds - start) <= 1
        and abs(best.stop_seconds - stop) <= 1
    )
    span = f"{show.clock(start)} – {show.clock(stop)}"
    show.mark(hit, f"the script says: {told.video}, {span}; within a second counts")
    return hit
