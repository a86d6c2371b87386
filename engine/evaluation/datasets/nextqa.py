"""NExT-QA and NExT-GQA: five choices, and in GQA the seconds that answer each question."""

import json
from pathlib import Path
from typing import Any

from engine.errors import NotFoundError, UsageError
from engine.evaluation.datasets.base import Dataset, Question, Span, read_rows

CHOICES = ("a0", "a1", "a2", "a3", "a4")
GROUPS = {"CW": "causal", "CH": "causal", "TN": "temporal", "TP": "temporal", "TC": "temporal"} | {
    "DC": "descriptive",
    "DL": "descriptive",
    "DO": "descriptive",
}


def load_nextqa(path: Path, *, grounding: Path | None = None) -> Dataset:
    """Read `val.csv` or `test.csv`, and with `grounding` a `gsub_*.json` of spans.

    Both forms of the file are read: the answer as text or as its index, the video's column named
    `video_id` or `video`. `TP` counts as `TN`, as the field does.
    """
    spans = _read_spans(grounding) if grounding else {}
    questions = []
    for row in read_rows(path, ("question", "answer", "qid", "type", *CHOICES)):
        video = row.get("video_id") or row.get("video")
        if not video:
            raise UsageError(f"{path}: no column 'video_id' or 'video'")
        choices = tuple(row[name] for name in CHOICES)
        questions.append(
            Question(
                key=f"{video}_{row['qid']}",
                video=video,
                text=row["question"],
                choices=choices,
                answer=_answer(row["answer"], choices, f"{path}: {video}_{row['qid']}"),
                kind="TN" if row["type"] == "TP" else row["type"],
                spans=spans.get(f"{video}_{row['qid']}", ()),
            )
        )
    return Dataset("nextgqa" if grounding else "nextqa", questions=tuple(questions))


def _answer(given: str, choices: tuple[str, ...], where: str) -> int:
    if given in choices:
        return choices.index(given)
    if given.isdigit() and int(given) < len(choices):
        return int(given)
    raise UsageError(f"{where}: answer {given!r} is none of {choices}")


def _read_spans(path: Path) -> dict[str, tuple[Span, ...]]:
    return {
        f"{video}_{qid}": tuple((float(start), float(stop)) for start, stop in segments)
        for video, entry in _read_json(path).items()
        for qid, segments in entry["location"].items()
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text())
    except OSError as error:
        raise NotFoundError(f"annotation file {path} cannot be read: {error.strerror}") from error
    return value
