"""`transcripts`: what is said in stored videos, by subtitles."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from api.cli import flags, show
from api.cli.connect import open_folder, reach
from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.ingesting.transcribe import Taken

transcripts = typer.Typer(help="What is said in videos, by subtitles.", no_args_is_help=True)
Which = Annotated[list[str] | None, typer.Argument(help="Names, ids or globs; all without any.")]


@transcripts.command("ls")
def list_transcripts(
    which: Which = None, data: flags.Data = flags.DATA, as_json: flags.Json = False
) -> None:
    """List the sources of lines, with how many of their cues are damaged."""
    with reach(data) as library:
        found = library.transcripts([flags.which(each) for each in which or ()] or None)
        names = {video.video_id: video.name for video in library.videos()} if found else {}
    rows = [
        {
            "video": names.get(part.video_id, part.video_id),
            "source": part.source,
            "language": part.language,
            "lines": part.num_lines,
            "damaged": part.damaged,
            "damage": part.damage,
        }
        for part in found
    ]
    if as_json:
        show.print_json(rows)
        return
    columns = ("video", "source", "language", "lines", "damaged")
    show.print_table(columns, [[row[name] for name in columns] for row in rows])
    show.print_reasons((str(row["video"]), str(row["damage"])) for row in rows if row["damage"])


@transcripts.command("add")
def add_transcript(
    video: Annotated[str, typer.Argument(help="Name or id.")],
    file: Annotated[Path, typer.Argument(help="A .srt or .vtt file.")],
    language: Annotated[
        str | None, typer.Option(help="As en or pt-BR; by default the file's name tells.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="As cp1251; by default it is told from the bytes.")
    ] = None,
    data: flags.Data = flags.DATA,
    as_json: flags.Json = False,
) -> None:
    """Read a file of subtitles, wherever it lies, as what is said in a video."""
    with reach(data, writes=True) as library:
        taken = library.add_transcript(
            flags.which(video), file, language=language, encoding=encoding
        )
    if as_json:
        show.print_json({"video": video, **asdict(taken)})
        return
    show.out.print(f"{video}: {taken}", markup=False)


@transcripts.command("scan")
def scan_transcripts(
    which: Which = None, data: flags.Data = flags.DATA, as_json: flags.Json = False
) -> None:
    """Read what is said in videos that are stored already, in their files and beside these."""
    with reach(data, writes=True) as library:
        rows = []
        for name, taken in library.scan_transcripts([flags.which(each) for each in which or ()]):
            fresh = [each for each in taken if each.fresh or each.error]
            rows += [{"video": name, **asdict(each)} for each in fresh]
            if fresh and not as_json:
                told = "; ".join(map(str, fresh))
                show.out.print(f"{escape(name)}: {escape(told)}", soft_wrap=True)
    if as_json:
        show.print_json(rows)
        return
    count = sum(row["lines"] for row in rows if row["fresh"])
    show.out.print(f"[bold]{count:,} lines read[/]")


@transcripts.command("read")
def read_transcripts(
    which: Which = None,
    every: Annotated[float, typer.Option(help="Seconds from picture to picture.")] = 1.0,
    data: flags.Data = flags.DATA,
    as_json: flags.Json = False,
) -> None:
    """Read what is written in the pictures of stored videos; needs dejavu-engine[ocr]."""
    with open_folder(data, writes=True) as library:
        meant = [flags.which(each) for each in which or ()]
        _print_taken(library.read_screens(meant, every_seconds=every), as_json=as_json)


def _print_taken(found: "Iterable[tuple[str, Taken]]", *, as_json: bool) -> None:
    """Print what comes of each video as it comes, or all of it as JSON."""
    rows = []
    for name, taken in found:
        rows.append({"video": name, **asdict(taken)})
        if not as_json:
            show.out.print(f"{escape(name)}: {escape(str(taken))}", soft_wrap=True)
    if as_json:
        show.print_json(rows)


@transcripts.command("hear")
def hear_transcripts(
    model: Annotated[Path, typer.Option(help="Folder of a Whisper model in CTranslate2's format.")],
    which: Which = None,
    language: Annotated[
        str | None, typer.Option(help="As en; by default it is told from each video's sound.")
    ] = None,
    data: flags.Data = flags.DATA,
    as_json: flags.Json = False,
) -> None:
    """Hear what is said in stored videos; needs dejavu-engine[speech] and a model."""
    with open_folder(data, writes=True) as library:
        meant = [flags.which(each) for each in which or ()]
        _print_taken(library.hear_speech(meant, model=model, language=language), as_json=as_json)


@transcripts.command("rm")
def remove_transcript(
    video: Annotated[str, typer.Argument(help="Name or id.")],
    source: Annotated[str | None, typer.Option(help="One source, as `ls` names it.")] = None,
    data: flags.Data = flags.DATA,
    as_json: flags.Json = False,
) -> None:
    """Forget what is said in a video; the files of subtitles stay."""
    with reach(data, writes=True) as library:
        count = library.remove_transcript(flags.which(video), source)
    if not count:
        raise UsageError(f"{video} has no transcript; nothing was removed")
    if as_json:
        show.print_json({"video": video, "removed": count})
        return
    show.out.print(f"{count} sources removed from {escape(video)}")
