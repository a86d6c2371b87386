"""`plot`: evaluations, comparisons, or whole ingests, in one picture."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli import flags, show


def plot(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Of --out: of eval, of bench strategies, or of bench ingest --end-to-end."
        ),
    ],
    picture: Annotated[Path, typer.Option("--picture", help="The PNG to write.")] = Path(
        "eval.png"
    ),
    as_json: flags.Json = False,
) -> None:
    """Draw evaluations, a comparison (what is left of tasks), or whole ingests by every way."""
    from engine.evaluation.compare import Comparison
    from engine.evaluation.ingest_plot import draw_ingests, read_ingests
    from engine.evaluation.plots import draw_left
    from engine.evaluation.saved import check_picture, holds_comparison
    from engine.evaluation.tables import markdown_comparison
    from engine.evaluation.tradeoff import draw_tradeoff, read_evaluations

    check_picture(picture)
    if len(files) == 1 and (ingests := read_ingests(files[0])) is not None:
        table = draw_ingests(ingests, picture)
        _told(ingests.title, ingests.markdown(), picture, table, as_json=as_json)
        return
    if len(files) == 1 and holds_comparison(files[0]):
        compared = Comparison.read(files[0])
        table = draw_left(compared, picture)
        _told(compared.title, markdown_comparison(compared), picture, table, as_json=as_json)
        return
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


def _told(title: str, markdown: str, picture: Path, table: Path, *, as_json: bool) -> None:
    if as_json:
        show.print_json({"picture": picture, "table": table, "title": title})
        return
    show.out.print(markdown, markup=False, soft_wrap=True)
    show.out.print(f"drawn to {picture}, the table to {table}")
