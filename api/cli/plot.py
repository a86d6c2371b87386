"""`plot`: evaluations, or whole ingests, in one picture."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli import flags, show


def plot(
    files: Annotated[
        list[Path],
        typer.Argument(help="What eval --out wrote, or bench ingest --end-to-end --out."),
    ],
    picture: Annotated[Path, typer.Option("--picture", help="The PNG to write.")] = Path(
        "eval.png"
    ),
    as_json: flags.Json = False,
) -> None:
    """Draw evaluations (accuracy against arithmetic), or whole ingests by every way."""
    from engine.evaluation.ingest_plot import draw_ingests, read_ingests

    if len(files) == 1 and (ingests := read_ingests(files[0])) is not None:
        table = draw_ingests(ingests, picture)
        if as_json:
            show.print_json({"picture": picture, "table": table, "title": ingests.title})
        else:
            show.out.print(ingests.markdown(), markup=False, soft_wrap=True)
            show.out.print(f"drawn to {picture}, the table to {table}")
        return
    from engine.evaluation.tradeoff import draw_tradeoff, read_evaluations

    found = read_evaluations(files)
    draw_tradeoff(found, picture)
    if as_json:
        show.print_json({"picture": picture, "title": found.title, "points": found.points})
        return
    show.print_table(
        ("strategy", "MACs ×", *found.points[0].scores),
        [
            (
                each.strategy,
                round(each.reduction, 2),
                *(round(s, 1) for s, _ in each.scores.values()),
            )
            for each in found.points
        ],
        title=found.title,
    )
    show.out.print(f"drawn to {picture}")
