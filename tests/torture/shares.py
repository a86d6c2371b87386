"""Where the delay of a live row goes: from its picture, by what happens to it, to being found."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from engine.client import Client

NAMES = ("cut", "queued", "begun", "ingested", "found")


@dataclass(frozen=True, slots=True)
class Passed:
    """When a segment came to each station, on the clock of `time.time`."""

    cut: float  # its file was whole
    queued: float
    begun: float
    ingested: float  # the job has ended: committed, and looked into for what stands

    def shares(self, shown: float, found: float) -> list[float]:
        """Return the seconds before each station; the last is less than 0 where rows came first."""
        stations = (shown, self.cut, self.queued, self.begun, self.ingested, found)
        return [float(step) for step in np.diff(stations)]


def passed(client: Client, folder: Path) -> dict[str, Passed]:
    """Return what passed of each segment in a folder, by its name."""
    found = dict[str, Passed]()
    for job in _jobs(client):
        times = [job[name] for name in ("created_at", "started_at", "finished_at")]
        for name in (video["name"] for video in job["videos"]):
            if all(times) and (folder / name).exists():
                stations = (datetime.fromisoformat(at).timestamp() for at in times)
                found[name] = Passed((folder / name).stat().st_mtime, *stations)
    return found


def _jobs(client: Client) -> Iterator[dict[str, Any]]:
    after = ""
    while page := client.call("GET", f"/jobs?limit=500{after}"):
        yield from page
        after = f"&after={page[-1]['id']}"


def table(rows: Iterable[tuple[float, float, Passed]]) -> list[str]:
    """Return lines that say of (shown, found, passed) how long it was to each station."""
    rows = sorted(rows, key=lambda row: row[1] - row[0])
    if not rows:
        return []
    shares = np.array([by.shares(shown, found) for shown, found, by in rows])
    slowest = shares[-max(1, len(rows) // 50) :]
    lines = []
    for name, column, late in zip(NAMES, shares.T, slowest.T, strict=True):
        p50, p99 = np.quantile(column, (0.5, 0.99))
        said = f"p50 {p50:.2f}, p99 {p99:.2f}; of the slowest 2 % {late.mean():.2f}"
        lines.append(f"  {name:9} {said}")
    return lines
