"""`ask`: an answer in its steps, as they are made."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlencode

import typer
from rich.markup import escape

from api.cli import flags, show
from api.cli.connect import connect
from engine.client import Client
from engine.errors import UsageError
from engine.printable import printable
from engine.results import Answer, Claim, Moment, Outlook, Step, unfollowed

if TYPE_CHECKING:
    from engine.session import Engine

_COLOURS = {"confirmed": "green", "rejected": "red", "unverified": "yellow"}


def ask(
    question: Annotated[str, typer.Argument(help="What to answer.")],
    choice: Annotated[list[str] | None, typer.Option(help="A possible answer; repeatable.")] = None,
    video: flags.Videos = None,
    where: flags.Where = None,
    session: Annotated[
        str | None, typer.Option(help="Ask on after an earlier answer, which names its session.")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="A JSON schema that the answer has to fit.", exists=True)
    ] = None,
    max_calls: Annotated[
        int | None, typer.Option(help="Of a model at most; by default 8.", min=1)
    ] = None,
    max_frames: Annotated[
        int | None, typer.Option(help="That a model is shown at first; by default 24.", min=1)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell where it looks and what it costs at most.")
    ] = False,
    steps: Annotated[
        bool, typer.Option("--steps", help="Print each step as a line of JSON, as it is made.")
    ] = False,
    data: flags.Data = flags.DATA,
    model: flags.ModelName = "builtin",
    device: flags.Device = "auto",
    as_json: flags.Json = False,
) -> None:
    """Answer a question, with the seconds that show it."""
    if dry_run and (session is not None or schema is not None):
        raise UsageError("--dry-run goes without --session and --schema")
    form = None if schema is None else _read(schema)
    videos = None if video is None else [flags.which(each) for each in video]
    most = {"max_calls": max_calls, "max_frames": max_frames}
    with connect(data, model, device) as engine:
        if dry_run:
            outlook = engine.foresee(question, choice, videos, where, **most)
            _print_outlook(outlook, engine, as_json=as_json or steps)
            return
        told = _StepsPrinted(lines=steps)
        answered = engine.ask(
            question,
            choice,
            videos,
            where,
            schema=form,
            session=session,
            **most,
            follow=told if steps or not as_json else unfollowed,
        )
        if steps:
            told.line("answer", answered)
        elif as_json:
            show.print_json(answered)
        else:
            told.end()
            print_answer(answered, engine)


class _StepsPrinted:
    """Prints the steps of an answer as they come."""

    def __init__(self, *, lines: bool) -> None:
        self._lines = lines
        self._talking = False

    def __call__(self, step: Step) -> None:
        if self._lines:
            names = {Outlook: "outlook", Claim: "claim"}
            self.line(names.get(type(step), "said"), step)
        elif isinstance(step, Outlook):
            show.err.print(f"[dim]{_cost_of(step)}[/]", soft_wrap=True)
        elif not isinstance(step, Claim) and not isinstance(step, Answer):
            self._talking = True
            show.err.print(step.text, end="", markup=False, style="dim", soft_wrap=True)

    def line(self, name: str, step: Step) -> None:
        """Print a step as a line of JSON."""
        sys.stdout.write(json.dumps({"step": name, **show.plain(asdict(step))}) + "\n")
        sys.stdout.flush()

    def end(self) -> None:
        """End what was said."""
        if self._talking:
            show.err.print()


def _cost_of(outlook: Outlook) -> str:
    cost = outlook.cost
    calls = f"at most {cost.calls} calls and " if cost.calls else ""
    moments = f"{len(outlook.moments)} moments"
    return escape(f"{outlook.looker} looks at {moments}: {calls}at most {cost.frames} frames")


def _print_outlook(outlook: Outlook, engine: "Engine | Client", *, as_json: bool) -> None:
    if as_json:
        show.print_json(outlook)
        return
    show.out.print(_cost_of(outlook), soft_wrap=True)
    for moment in outlook.moments:
        _print_moment("looks at", moment, engine)


def print_answer(answered: Answer, engine: "Engine | Client") -> None:
    """Print an answer, its choices, its evidence and what was checked."""
    guess = "" if answered.caution is None else "its guess: "
    said = f"{guess}[bold]{escape(printable(answered.text))}[/]"
    show.out.print(f"{said}  {answered.confidence:.0%}  [dim]{escape(answered.how)}[/]")
    ranked = sorted(answered.scores.items(), key=lambda pair: -pair[1])[:6]
    widest = max((len(choice) for choice, _ in ranked), default=0)
    for choice, share in ranked:
        bar = "█" * round(24 * share)
        show.out.print(
            f"  {escape(choice.ljust(widest))}  [magenta]{bar.ljust(24)}[/] {share:6.1%}"
        )
    for claim in answered.claims:
        score = "" if claim.score is None else f" {claim.score:.0%}"
        why = f"  [dim]{escape(printable(claim.said))}[/]" if claim.said else ""
        text = escape(printable(claim.text))
        verdict = f"[{_COLOURS[claim.verdict]}]{claim.verdict}[/]"
        show.out.print(f"  {verdict}{score}: {text}{why}")
    for moment in answered.evidence[:5]:
        _print_moment("seen in", moment, engine)
    cost = answered.cost
    parts = [f"{cost.calls} calls, {cost.frames} frames"] if cost.calls else []
    parts += [f"ask on with --session {answered.session}"] if answered.session else []
    if parts:
        show.out.print(f"[dim]{'; '.join(parts)}[/]", soft_wrap=True)
    show.print_caution(answered.caution)


def _print_moment(how: str, moment: Moment, engine: "Engine | Client") -> None:
    span = f"{show.clock(moment.start_seconds)} – {show.clock(moment.stop_seconds)}"
    name = escape(printable(moment.name))
    show.out.print(f"  [dim]{how}[/] {name} [bold]{span}[/]  [dim]{_playable(moment, engine)}[/]")


def _playable(moment: Moment, engine: "Engine | Client") -> str:
    """Return where a player finds a moment: a part of the file, or a clip that a server cuts."""
    start, stop = f"{moment.start_seconds:.3f}", f"{moment.stop_seconds:.3f}"
    if isinstance(engine, Client):
        query = urlencode({"start": start, "stop": stop})
        return escape(f"{engine.url}/videos/{moment.video_id}/clip.mp4?{query}")
    path = engine.video(moment.video_id).path
    return escape(f"file://{quote(str(Path(path).absolute()))}#t={start},{stop}")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} holds no JSON: {error}") from error
