"""`store`: the data folder itself, checked, repaired, backed up and restored; always local."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from api.cli import flags, show
from api.cli.connect import check_folder, must_only_read

store = typer.Typer(
    help="The data folder itself; these commands work on this machine's files, never by a server.",
    no_args_is_help=True,
)


@store.command("check")
def check_store(data: flags.Data = flags.DATA, as_json: flags.Json = False) -> None:
    """Look at every file of the store, and change nothing."""
    from engine.storage.check import check

    check_folder(data)
    must_only_read(data)
    looked = check(data)
    problems = looked.problems
    if as_json:
        show.print_json(looked)
    elif problems:
        rows = [(problem.video_id, problem.kind, problem.message) for problem in problems]
        show.print_table(("video", "kind", "problem"), rows)
    else:
        said = "every part, index and catalog"
        said += " that was published last" if looked.published else ""
        known = "" if looked.published else ", and the catalog knows each"
        show.out.print(f"[green]✓[/] {said} is what was written{known}")
    if problems:
        raise typer.Exit(1)


@store.command("backup")
def backup_store(
    to: Annotated[
        str,
        typer.Argument(metavar="DIR", help="Empty, or an earlier backup; also s3://BUCKET/FOLDER."),
    ],
    data: flags.Data = flags.DATA,
    as_json: flags.Json = False,
) -> None:
    """Copy the store, also while it is written; an earlier backup costs only what changed since."""
    from engine.objects.address import place_of
    from engine.storage.backup import backup
    from engine.storage.bucket_backup import backup_to

    check_folder(data)
    must_only_read(data)
    place = place_of(to)
    done = backup(data, place) if isinstance(place, Path) else backup_to(data, place)
    _print_copied(done, f"backed up {data} to {to}", as_json=as_json)


@store.command("restore")
def restore_store(
    source: Annotated[
        str, typer.Argument(metavar="DIR", help="A backup; also s3://BUCKET/FOLDER.")
    ],
    data: flags.Data = flags.DATA,
    as_json: flags.Json = False,
) -> None:
    """Make a store of a backup; the data folder must be empty or not there yet."""
    from engine.objects.address import place_of
    from engine.storage.backup import restore
    from engine.storage.bucket_backup import restore_from

    place = place_of(source)
    done = restore(place, data) if isinstance(place, Path) else restore_from(place, data)
    _print_copied(done, f"restored {data} from {source}", as_json=as_json)


def _print_copied(done: Any, what: str, *, as_json: bool) -> None:
    if as_json:
        show.print_json(done)
    else:
        size = f"{done.files} files, {done.size_bytes / 1e6:.1f} MB copied, {done.kept} kept"
        show.out.print(f"{escape(what)}: {size}")
        for path in done.damaged:
            show.out.print(f"[red]left out:[/] {escape(path)}")
    if done.damaged:
        raise typer.Exit(1)


@store.command("repair")
def repair_store(data: flags.Data = flags.DATA, as_json: flags.Json = False) -> None:
    """Make catalog and files fit again; what does not fit goes to lost+found, nothing is deleted.

    A catalog that is damaged or gone is rebuilt from its published copy and the Parquet files.
    """
    from engine.storage.repair import repair

    check_folder(data)
    done = repair(data)
    if as_json:
        show.print_json(done)
        return
    show.out.print(f"catalog: {done.catalog}")
    for what, items in (
        ("taken in", done.taken_in),
        ("set aside", done.set_aside),
        ("to be ingested again", done.condemned),
        ("lost", done.lost),
    ):
        for item in items:
            show.out.print(f"{what}: {escape(item)}")
    if done.published:
        show.out.print("what readers saw was not what the catalog has: published anew")
    if not done.changed:
        show.out.print("[green]✓[/] nothing was to be repaired in catalog and parts")
