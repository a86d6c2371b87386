"""`videos`, `index`, `spaces` and `jobs`: what is stored."""

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from api.cli import choosing, flags, show
from api.cli.columns import list_columns, set_values
from api.cli.connect import open_folder, open_published, reach
from engine.client import Client
from engine.errors import UsageError
from engine.storage.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.library import Library
    from engine.storage.indexing import IndexStatus
    from engine.storage.records import Video

videos = typer.Typer(help="The videos in the store.", no_args_is_help=True)
index = typer.Typer(help="The search index.", no_args_is_help=True)
spaces = typer.Typer(help="The embedding spaces: one for each model.", no_args_is_help=True)
jobs = typer.Typer(help="Work that a server does in the background.", no_args_is_help=True)
PAGE = 100  # videos that `ls` lists at once
Which = Annotated[str, typer.Argument(help="Name or id.")]
Job = Annotated[str, typer.Argument(help="Id of the job.")]


videos.command("set")(set_values)
videos.command("columns")(list_columns)


@videos.command("ls")
def list_videos(
    pattern: Annotated[str | None, typer.Argument(help="Name or glob.")] = None,
    limit: Annotated[int, typer.Option(help="So many at once; 0 lists all.", min=0)] = PAGE,
    after: Annotated[int, typer.Option(help="Those whose ids come after this one.", min=0)] = 0,
    gone: choosing.Gone = False,
    since: choosing.Since = None,
    until: choosing.Until = None,
    where: flags.Where = None,
    data: flags.Data = flags.DATA,
    as_json: flags.Json = False,
) -> None:
    """List the videos with how they were encoded."""
    choice = choosing.Choice.read(since, until, gone, where)
    most = limit + 1 if limit and choice.without_where.everything else None
    with reach(data) as known:
        page = choice.of(known.videos(pattern, after=after, limit=most, where=where))
        found = _with_states(known, page[: limit or None])
    more = bool(limit) and len(page) > limit
    if as_json:
        show.print_json(found)
        return
    columns = ("id", "name", "length", "size", "codec", "status", "strategy", "reuse", "drift")
    show.print_table(columns, [_row(video) for video in found])
    show.print_reasons((video["name"], video["error"]) for video in found if video["error"])
    if more:
        last = found[-1]["id"]
        show.err.print(f"[dim]there are more: --after {last} goes on, --limit 0 lists all[/]")


@videos.command("show")
def show_video(which: Which, data: flags.Data = flags.DATA, as_json: flags.Json = False) -> None:
    """Show one video: its stream, and what its ingest did and cost."""
    with reach(data) as known:
        found = _record(known.video(flags.which(which)))
    report = {} if as_json else found.pop("report", None) or {}
    _print_record({**found, **report}, as_json=as_json)


@videos.command("rm")
def remove_videos(
    which: Annotated[list[str] | None, typer.Argument(help="Names, ids or globs.")] = None,
    gone: choosing.Gone = False,
    since: choosing.Since = None,
    until: choosing.Until = None,
    where: flags.Where = None,
    yes: Annotated[bool, typer.Option("--yes", help="Several at once, without asking.")] = False,
    data: flags.Data = flags.DATA,
    as_json: flags.Json = False,
) -> None:
    """Remove videos' rows; the files themselves stay, but for those sent to a server."""
    choice = choosing.Choice.read(since, until, gone, where)
    if not which and choice.everything:
        allowed = "names, ids, globs, --gone, --since, --until, --where"
        raise UsageError(f"nothing is named; allowed: {allowed}")
    with reach(data, writes=True) as known:
        meant = _meant(known, which, choice)
        if len(meant) > 1 and not yes:
            names = ", ".join(video.name for video in meant[:5]) + (", …" if len(meant) > 5 else "")
            if as_json or not sys.stdin.isatty():
                raise UsageError(f"{len(meant)} videos are meant: {names}; --yes removes them")
            typer.confirm(f"remove {len(meant)} videos: {names}?", abort=True)
        for video in meant:
            known.remove(video.video_id)
            if not as_json:
                show.out.print(f"removed {escape(video.name)}")
    if as_json:
        show.print_json({"removed": [video.name for video in meant]})
    elif not meant:
        show.out.print("no video is meant; nothing was removed")


def _meant(
    known: "Client | Library", which: list[str] | None, choice: choosing.Choice
) -> "list[Video]":
    """Return the videos named, or all, that meet the conditions; each once."""
    if not which:
        return choice.of(known.videos(where=choice.where))
    named = {video.video_id: video for name in which for video in _named(known, name)}
    if choice.where is not None:
        meeting = {video.video_id for video in known.videos(where=choice.where)}
        named = {video_id: video for video_id, video in named.items() if video_id in meeting}
    return choice.of(named.values())


def _named(known: "Client | Library", name: str) -> "list[Video]":
    """Return the videos that a name, an id or a glob stands for: at least one."""
    return known.videos(name) or [known.video(flags.which(name))]


@videos.command()
def verify(
    which: Annotated[str | None, typer.Argument(help="Name or id; all by default.")] = None,
    data: flags.Data = flags.DATA,
    as_json: flags.Json = False,
) -> None:
    """Prove that every video has every row it should, in files that are whole."""
    with open_published(data) as known:
        video = known.video(flags.which(which)).video_id if which else None
        problems = known.verify(video)
        counts = _count_states(known, video)
    if as_json:
        show.print_json({"videos": sum(counts.values()), "states": counts, "problems": problems})
    elif problems:
        rows = [(problem.video_id, problem.kind, problem.message) for problem in problems]
        show.print_table(("video", "kind", "problem"), rows)
    else:
        others = ", ".join(f"{n} {state}" for state, n in counts.items() if state != "complete")
        text = f"{counts.get('complete', 0)} videos have all their rows"
        show.out.print(f"[green]✓[/] {text}" + (f"; {others}" if others else ""))
    if problems:
        raise typer.Exit(1)


def _count_states(known: "Library", video: int | None) -> dict[str, int]:
    """Return how many videos are complete, quarantined and so on in the space in use."""
    if known.current_space() is None:
        return {"without rows": 1 if video else sum(known.count_by_status().values())}
    found = known.completeness(None if video is None else [video])
    return dict(Counter(item.state for item in found))


@index.command("status")
def index_status(data: flags.Data = flags.DATA, as_json: flags.Json = False) -> None:
    """Show each space's index."""
    with open_folder(data) as known:
        _print_status(known.indexes(), as_json=as_json)


@index.command("build")
def index_build(data: flags.Data = flags.DATA, as_json: flags.Json = False) -> None:
    """Rebuild every index from the stored rows."""
    with open_folder(data, writes=True) as known:
        _print_status(known.build_indexes(), as_json=as_json)


@index.command("compact")
def index_compact(data: flags.Data = flags.DATA, as_json: flags.Json = False) -> None:
    """Fold small and superseded files together and merge the index."""
    with open_folder(data, writes=True) as known:
        removed = known.compact()
    if as_json:
        show.print_json({"files_removed": removed})
    else:
        show.out.print(f"{removed} files folded away")


@spaces.command("ls")
def list_spaces(data: flags.Data = flags.DATA, as_json: flags.Json = False) -> None:
    """List the spaces; a star marks the one in use."""
    with open_folder(data) as known:
        found, current = known.spaces(), known.current_space()
    cards = {space.key: path for space in found if (path := Layout(data).card(space.key)).is_file()}
    if as_json:
        show.print_json({"current": current and current.key, "spaces": found, "cards": cards})
        return
    rows = [
        (
            "*" if space == current else "",
            *(space.key, space.model, space.revision, space.dimension),
            str(cards[space.key].with_suffix(".md")) if space.key in cards else "not checked",
        )
        for space in found
    ]
    show.print_table(("", "key", "model", "revision", "dimension", "card"), rows)


@spaces.command("use")
def use_space(
    key: Annotated[str, typer.Argument(help="Key of the space.")],
    data: flags.Data = flags.DATA,
    as_json: flags.Json = False,
) -> None:
    """Make a space the one that queries use."""
    with open_folder(data, writes=True) as known:
        known.use_space(key)
    if as_json:
        show.print_json({"current": key})
    else:
        show.out.print(f"using {key}")


@spaces.command("rm")
def remove_space(
    key: Annotated[str, typer.Argument(help="Key of the space.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: flags.Data = flags.DATA,
    as_json: flags.Json = False,
) -> None:
    """Remove a space with all its rows; the one in use only after asking."""
    with open_folder(data, writes=True) as known:
        current = known.current_space()
        if current is not None and current.key == key and not yes:
            rows = known.index(key).num_rows
            if as_json or not sys.stdin.isatty():
                raise UsageError(f"{key} is in use and has {rows} rows; --yes removes it")
            typer.confirm(f"{key} is in use and has {rows} rows; remove it?", abort=True)
        known.remove_space(key)
    if as_json:
        show.print_json({"removed": key})
    else:
        show.out.print(f"removed {key}")


@jobs.command("ls")
def list_jobs(data: flags.Data = flags.DATA, as_json: flags.Json = False) -> None:
    """List jobs, newest first."""
    with reach(data) as known:
        found = [_job(job) for job in known.jobs()]
    if as_json:
        show.print_json(found)
        return
    rows = [(job["id"], job["kind"], job["status"], str(job["created_at"])) for job in found]
    show.print_table(("id", "kind", "status", "created"), rows)


@jobs.command("show")
def show_job(job_id: Job, data: flags.Data = flags.DATA, as_json: flags.Json = False) -> None:
    """Show one job: how far it is, or why it failed."""
    with reach(data) as known:
        found = _job(known.job(job_id))
    _print_record(found, as_json=as_json)


@jobs.command("cancel")
def cancel_job(job_id: Job, data: flags.Data = flags.DATA, as_json: flags.Json = False) -> None:
    """Cancel a job of the running server; without one, a job that waits."""
    with reach(data, writes=True) as known:
        found = _job(known.cancel(job_id))
    _print_record(found, as_json=as_json)


def _print_record(record: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show.print_json(record)
        return
    for name, value in record.items():
        if value not in (None, [], {}, ""):
            show.out.print(f"[dim]{name.replace('_', ' '):>20}[/]  {escape(_said(value))}")


def _with_states(known: "Client | Library", found: "Sequence[Video]") -> list[dict[str, Any]]:
    """Return videos with how much of each is embedded, which a server does not tell."""
    if isinstance(known, Client):
        return [_record(video) for video in found]
    states = {each.video_id: each for each in known.completeness([v.video_id for v in found])}
    return [{**_record(video), "rows": show.plain(states.get(video.video_id))} for video in found]


def _state(video: dict[str, Any]) -> str:
    """Say in a word how far a video is."""
    rows = video.get("rows")
    if rows is None or rows["state"] not in ("partial", "none"):
        return str(video["status"])
    if rows["planned"] is None:
        return "not finished" if rows["embedded"] else "no rows"
    return f"{rows['embedded']} of {rows['planned']} rows"


def _record(video: Any) -> dict[str, Any]:
    record: dict[str, Any] = show.plain(video)
    return {"id": record.pop("video_id"), **record}


def _job(job: Any) -> dict[str, Any]:
    record: dict[str, Any] = show.plain(job)
    return {"id": record.pop("job_id"), **record}


def _row(video: dict[str, Any]) -> tuple[Any, ...]:
    report = video.get("report") or {}
    seconds, reuse = video["duration_seconds"], report.get("reuse_rate")
    return (
        video["id"],
        video["name"],
        None if seconds is None else show.clock(seconds),
        f"{video['width']}×{video['height']}" if video["width"] else None,
        video["codec"],
        _state(video),
        report.get("strategy"),
        None if reuse is None else f"{reuse:.1%}",
        report.get("drift"),
    )


def _said(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_said(item)}" for name, item in value.items())
    return ", ".join(map(_said, value)) if isinstance(value, list) else str(value)


def _print_status(found: "Sequence[IndexStatus]", *, as_json: bool) -> None:
    if as_json:
        show.print_json(found)
        return
    rows = [
        (s.space_key, s.kind, s.num_rows, s.num_indexed, s.num_delta, s.num_tombstones, s.state)
        for s in found
    ]
    columns = ("space", "kind", "rows", "indexed", "delta", "tombstones", "state")
    show.print_table(columns, rows)
