"""NExT-QA and NExT-GQA: five choices, and in GQA the seconds that answer each question."""

import json
from pathlib import Path

from engine.errors import UsageError
from engine.evaluation.datasets.base import (
    Dataset,
    Question,
    Span,
    check_keys,
    check_span,
    read_rows,
    read_text,
)

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
    rows = list(read_rows(path, ("question", "answer", "qid", "type", *CHOICES)))
    if not (videos := {"video_id", "video"} & rows[0].keys()):
        raise UsageError(f"{path}: no column 'video_id' or 'video'")
    texts = all(row["answer"] in _choices(row) for row in rows)
    named = "video_id" if "video_id" in videos else "video"
    questions = [_question(path, row, row[named], texts, spans) for row in rows]
    check_keys(path, (each.key for each in questions))
    if spans and not spans.keys() & {each.key for each in questions}:
        raise UsageError(f"{grounding} has spans of none of the questions of {path}")
    return Dataset("nextgqa" if grounding else "nextqa", questions=tuple(questions))


def _question(
    path: Path, row: dict[str, str], video: str, texts: bool, spans: dict[str, tuple[Span, ...]]
) -> Question:
    key, choices = f"{video}_{row['qid']}", _choices(row)
    if not video:
        raise UsageError(f"{path}: question {row['qid']} names no video")
    return Question(
        key=key,
        video=video,
        text=row["question"],
        choices=choices,
        answer=_answer(row["answer"], choices, texts, f"{path}: {key}"),
        kind="TN" if row["type"] == "TP" else row["type"],
        spans=spans.get(key, ()),
    )


def _choices(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in CHOICES)


def _answer(given: str, choices: tuple[str, ...], texts: bool, where: str) -> int:
    """Place of the answer; a whole file has either texts or places, and counts look like both."""
    if texts:
        return choices.index(given)
    if given.isdecimal() and int(given) < len(choices):
        return int(given)
    raise UsageError(
        f"{where}: answer {given!r} is none of {', '.join(choices)}; allowed: in all rows a choice,"
        f" or in all its place, 0 to {len(choices) - 1}"
    )


def _read_spans(path: Path) -> dict[str, tuple[Span, ...]]:
    try:
        return {
            f"{video}_{qid}": tuple(
                check_span(float(start), float(stop), f"{path}: [{start}, {stop}] of {video}_{qid}")
                for start, stop in segments
            )
            for video, entry in json.loads(read_text(path)).items()
            for qid, segments in entry["location"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(
            f"{path}: no file of spans; allowed: {{video: {{location: {{qid: [[start, stop]]}}}}}}"
        ) from error
