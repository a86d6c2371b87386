"""Curves of measured figures as pictures, one file a plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

Points = Sequence[tuple[float, float]]


def plot_curves(
    path: Path,
    curves: Mapping[str, Points],
    *,
    title: str,
    x: str,
    y: str,
    log_y: bool = False,
) -> None:
    """Draw one line with markers per name, points in the order of their x."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        ordered = sorted(points)
        axes.plot([p[0] for p in ordered], [p[1] for p in ordered], marker="o", label=name)
    axes.set(title=title, xlabel=x, ylabel=y)
    if log_y:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
