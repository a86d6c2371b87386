"""`videos set` and `videos columns`: what users say of videos."""

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import flags, show
from api.cli.connect import reach
from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.storage.records import ColumnKind

_VALUE = re.compile(r"(?P<name>[A-Za-z]\w*)(?::(?P<kind>\w+))?=(?P<value>.*)", re.DOTALL)


def set_values(
    given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WHICH... NAME=VALUE...",
            help="Names, ids or globs, then values; NAME= takes one away, NAME:text=007 says of"
            " which kind a new column is.",
        ),
    ] = None,
    where: flags.Where = None,
    data: flags.Data = flags.DATA,
    as_json: flags.Json = False,
) -> None:
    """Give videos values in columns of your own, or recorded_at; SQL and --where read them."""
    assigned = [found for each in given or () if (found := _VALUE.fullmatch(each))]
    which = [each for each in given or () if not _VALUE.fullmatch(each)]
    if not assigned or not (which or where):
        lacking = "no value" if which or where else "no video"
        raise UsageError(f"got {lacking}; expected videos (or --where), then NAME=VALUE")
    from engine.storage.user_columns import checked_kind, kind_of_text

    values = {found["name"].lower(): found["value"] or None for found in assigned}
    named = {found["name"].lower(): found["kind"] for found in assigned if found["kind"]}
    kinds: dict[str, ColumnKind] = {name: checked_kind(kind) for name, kind in named.items()}
    with reach(data, writes=True) as library:
        known = library.columns()
        for name, value in values.items():
            if value is not None and name not in (*known, *kinds, "recorded_at"):
                kinds[name] = kind_of_text(value)
        meant: list[int | str] = [flags.which(each) for each in which]
        if where is not None:
            meant += [video.video_id for video in library.videos(where=where)]
        told = library.tag(meant, values, kinds) if meant else []
    if as_json:
        show.print_json([_record(video) for video in told])
        return
    for video in told:
        said = {**video.columns, "recorded_at": video.recorded_at}
        words = ", ".join(f"{n} = {value}" for n, value in said.items() if value is not None)
        show.out.print(f"{video.name}: {words or 'nothing'}", markup=False)
    if not told:
        show.out.print("no video is meant; nothing was set")


def list_columns(
    drop: Annotated[
        str | None, typer.Option(help="Remove this column with all of its values.")
    ] = None,
    data: flags.Data = flags.DATA,
    as_json: flags.Json = False,
) -> None:
    """List the columns that videos have been given, with their kinds."""
    with reach(data, writes=drop is not None) as library:
        if drop is not None:
            library.drop_column(drop)
        found = library.columns()
    if as_json:
        show.print_json(found)
    else:
        show.print_table(("column", "kind"), list(found.items()))


def _record(video: Any) -> dict[str, Any]:
    return {
        "id": video.video_id,
        "name": video.name,
        "recorded_at": show.plain(video.recorded_at),
        "columns": show.plain(video.columns),
    }
