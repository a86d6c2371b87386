"""Strategies at several settings over the same videos: cost, drift, and what the tasks lose."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.answering.head import VectorReader
from engine.errors import NotFoundError, UsageError
from engine.evaluation.datasets.base import Dataset
from engine.evaluation.encodings import Encodings, Pixels
from engine.evaluation.evaluate import encode_by_all
from engine.evaluation.paired import Paired, compare_paired, ratio_error
from engine.evaluation.tasks import Outcomes, Texts, outcomes
from engine.vision.streaming.strategy import Strategy

DENSE = "dense"
TASKS = ("retrieval", "answers", "grounded")
KIND = "kind: "  # before the name of a kind of question
BRIEF = f"{KIND}brief"


@dataclass(frozen=True, slots=True)
class Setting:
    """A strategy at one setting; those of a family make one curve."""

    family: str
    value: str
    strategy: Strategy

    @property
    def label(self) -> str:
        """Family and setting."""
        return f"{self.family} {self.value}".strip()


@dataclass(frozen=True, slots=True)
class Point:
    """What came of one setting, over all frames of all videos."""

    family: str
    value: str
    reuse: float
    macs: float  # of dense
    seconds: float | None  # wall-clock, of dense, same run; None: such times say nothing
    drift: float
    p5: float  # 5th percentile of the cosine to dense
    worst: float  # smallest cosine
    tasks: Mapping[str, Paired]  # by task, and by kind of question
    nearest: float | None = None  # frames whose nearest other frame is dense's
    top1: float | None = None  # frames whose best class is dense's
    # standard errors by name, of these two over videos, of macs too, of times over turns
    errors: dict[str, float] = field(default_factory=dict)
    cpu: float | None = None  # processor time, of dense, same run

    @property
    def label(self) -> str:
        """Family and setting."""
        return f"{self.family} {self.value}".strip()


@dataclass(frozen=True, slots=True)
class Comparison:
    """All points of one run, dense first; `notes` state its conditions."""

    title: str
    notes: tuple[str, ...]
    points: Sequence[Point]

    @classmethod
    def read(cls, path: Path) -> "Comparison":
        """Read what `bench strategies --out` wrote; anything else is an error."""
        try:
            return cls.from_json(json.loads(path.read_text())["data"])
        except OSError as error:
            raise NotFoundError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise UsageError(f"{path} is no comparison; allowed: what --out wrote") from error

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Comparison":
        """Read what `dataclasses.asdict` made."""
        points = [
            Point(**{**each, "tasks": {k: Paired(**v) for k, v in each["tasks"].items()}})
            for each in data["points"]
        ]
        if not points or points[0].family != DENSE:
            raise ValueError("dense is not the first of the points")
        return cls(data["title"], tuple(data["notes"]), points)

    def beside(self, other: "Comparison") -> "Comparison":
        """Add the families that another run has and this one lacks.

        Their losses and costs are against the dense of their own run, on other clips: notes say so.
        """
        known = {point.family for point in self.points}
        added = [point for point in other.points if point.family not in known]
        names = ", ".join(dict.fromkeys(point.family for point in added))
        notes = tuple(f"{names}: {note}" for note in other.notes) if added else ()
        return Comparison(self.title, self.notes + notes, [*self.points, *added])

    def untimed(self) -> "Comparison":
        """Leave times out, as of a run whose times say nothing."""
        points = [
            replace(each, seconds=None, cpu=None, errors=_without_times(each))
            for each in self.points
        ]
        return replace(self, points=points)

    def timed_by(self, other: "Comparison") -> "Comparison":
        """Take times from another run; settings that it has not are left out."""
        times = {point.label: point for point in other.points}
        points = [_timed(each, times[each.label]) for each in self.points if each.label in times]
        notes = tuple(f"times: {note}" for note in other.notes)
        return Comparison(self.title, self.notes + notes, points)


def _timed(point: Point, other: Point) -> Point:
    times = {name: error for name, error in other.errors.items() if name in ("seconds", "cpu")}
    errors = _without_times(point) | times
    return replace(point, seconds=other.seconds, cpu=other.cpu, errors=errors)


def _without_times(point: Point) -> dict[str, float]:
    return {name: error for name, error in point.errors.items() if name not in ("seconds", "cpu")}


def encode_settings(
    settings: Sequence[Setting], videos: Iterable[Pixels], device: torch.device, *, streams: int
) -> dict[str, Encodings]:
    """Encode all videos by every setting, pixels on the device; setting up is not timed."""
    strategies = {each.label: each.strategy for each in settings}
    if len(strategies) != len(settings):
        raise ValueError("two settings of the same name")
    moved = (replace(video, pixels=video.pixels.to(device)) for video in videos)
    first = next(moved)
    short = replace(first, pixels=first.pixels[:9], seconds=first.seconds[:9])
    encode_by_all(strategies, [short], streams=1)
    return encode_by_all(strategies, chain([first], moved), streams=streams)


def world_points(
    settings: Sequence[Setting],
    encodings: Mapping[str, Encodings],
    dataset: Dataset,
    texts: Texts,
    reader: VectorReader | None,
) -> Iterator[Point]:
    """Score every setting on the tasks, item by item against the first, which is dense."""
    dense = encodings[settings[0].label]
    exact = outcomes(dataset, dense, texts, reader)
    for setting in settings:
        ours = encodings[setting.label]
        found = outcomes(dataset, ours, texts, reader)
        yield _point(setting, ours, dense, _paired(dataset, found, exact))


def natural_points(
    settings: Sequence[Setting], encodings: Mapping[str, Encodings], classes: Tensor | None
) -> Iterator[Point]:
    """Look what is left of nearest neighbours and, with `classes` `[C, E]`, of the best class."""
    dense = encodings[settings[0].label]
    theirs = _rows(dense)
    nearest = _nearest(theirs)
    for setting in settings:
        ours = encodings[setting.label]
        rows = _rows(ours)
        kept = {"nearest": _nearest(rows) == nearest}
        if classes is not None:
            kept["top1"] = (rows @ classes.T).argmax(1) == (theirs @ classes.T).argmax(1)
        shares = {name: float(same.float().mean()) for name, same in kept.items()}
        point = _point(setting, ours, dense, {})
        yield replace(
            point,
            nearest=shares["nearest"],
            top1=shares.get("top1"),
            errors=point.errors | {name: _error(dense, same) for name, same in kept.items()},
        )


def _point(
    setting: Setting, ours: Encodings, dense: Encodings, tasks: Mapping[str, Paired]
) -> Point:
    cosine = (_rows(ours) * _rows(dense)).sum(1).double().numpy()
    return Point(
        family=setting.family,
        value=setting.value,
        reuse=ours.reuse,
        macs=ours.macs_per_frame / dense.macs_per_frame,
        seconds=ours.seconds_per_frame / dense.seconds_per_frame,
        drift=float(1 - cosine.mean()),
        p5=float(np.quantile(cosine, 0.05)),
        worst=float(cosine.min()),
        tasks=tasks,
        errors=_cost_errors(ours, dense),
        cpu=ours.cpu_seconds_per_frame / dense.cpu_seconds_per_frame,
    )


def _cost_errors(ours: Encodings, dense: Encodings) -> dict[str, float]:
    both = (ours, dense)
    costs = [[each.macs for each in found.videos.values()] for found in both]
    walls = [[turn.wall_seconds for turn in found.turns] for found in both]
    used = [[turn.cpu_seconds for turn in found.turns] for found in both]
    return {
        name: ratio_error(*values)
        for name, values in (("macs", costs), ("seconds", walls), ("cpu", used))
    }


def _paired(dataset: Dataset, ours: Outcomes, dense: Outcomes) -> dict[str, Paired]:
    captioned = [item.video for item in dataset.captions]
    asked = [question.video for question in dataset.questions]
    found = {
        "retrieval": compare_paired(ours.retrieved, dense.retrieved, captioned),
        "answers": compare_paired(ours.right, dense.right, asked),
        "grounded": compare_paired(ours.grounded, dense.grounded, asked),
    }
    for kind in sorted({question.kind for question in dataset.questions}):
        at = [place for place, each in enumerate(dataset.questions) if each.kind == kind]
        videos = [asked[place] for place in at]
        found[KIND + kind] = compare_paired(ours.right[at], dense.right[at], videos)
    return found


def _error(dense: Encodings, same: Tensor) -> float:
    """Standard error of the share of frames that agree with dense, over videos."""
    groups = [name for name, each in dense.videos.items() for _ in each.frames]
    hits = same.numpy()
    return compare_paired(hits, np.ones_like(hits), groups).error / 100


def _rows(encodings: Encodings) -> Tensor:
    """All frames of all videos: every strategy has them in the same order."""
    return torch.from_numpy(np.concatenate([each.frames for each in encodings.videos.values()]))


def _nearest(vectors: Tensor) -> Tensor:
    similar = vectors @ vectors.T
    return similar.fill_diagonal_(-1).argmax(1)
