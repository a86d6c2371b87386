"""Datasets by name: their files' format, and how the field samples their videos."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engine.errors import UsageError
from engine.evaluation.datasets.base import Dataset
from engine.evaluation.datasets.how2qa import load_how2qa
from engine.evaluation.datasets.msrvtt import load_msrvtt
from engine.evaluation.datasets.nextqa import load_nextqa
from engine.names import Names

_OURS = "engine.evaluation.datasets.registry:"
DATASETS = Names(
    "dejavu_engine.datasets",
    "dataset",
    {name: _OURS + name.upper() for name in ("msrvtt", "how2qa", "nextqa", "nextgqa")},
)


@dataclass(frozen=True, slots=True)
class AnnotatedSet:
    """How an annotated set is read: `load` gets its annotation file, and that of its spans."""

    load: Callable[[Path, Path | None], Dataset]
    fps: float  # sampled frames a second
    most: int  # frames of a video
    spans: str = ""  # the file of spans that it needs, in words; empty: none

    def check_spans(self, name: str, given: Path | None, *, needed: bool = True) -> None:
        """Refuse a file of spans where the set `name` has none, and its lack where it is needed."""
        if given is not None and not self.spans:
            raise UsageError(f"dataset {name} has no spans, got --spans {given}")
        if given is None and self.spans and needed:
            raise UsageError(f"dataset {name} needs --spans {self.spans}")


def _alone(load: Callable[[Path], Dataset], file: Path, _spans: Path | None) -> Dataset:
    return load(file)


def _grounded(file: Path, spans: Path | None) -> Dataset:
    return load_nextqa(file, grounding=spans)


MSRVTT = AnnotatedSet(partial(_alone, load_msrvtt), 1.0, 12)
HOW2QA = AnnotatedSet(partial(_alone, load_how2qa), 1.0, 600)
NEXTQA = AnnotatedSet(partial(_alone, load_nextqa), 6.0, 32)
NEXTGQA = AnnotatedSet(_grounded, 6.0, 32, "gsub_val.json or gsub_test.json")
