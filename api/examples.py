"""Examples to try, taken from what a store holds: nothing is claimed that is not there.

No text is offered for its score: one that is near another stands out on the other's frames too.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from threading import Lock

from engine.objects.address import place_of
from engine.session import Engine
from schemas.examples import ExampleOut

MOST = 3  # of each kind
NEWEST = 50  # videos that are looked at for frames and labels
SURE = 0.5  # a detector's score
AS_IT_IS = {"budget_seconds": 1e-6}  # nothing is embedded or looked at for an example
LABELS = """
SELECT label, arg_max(video_id, score) AS video_id, arg_max(seconds, score) AS seconds
FROM detections WHERE score >= $sure AND video_id IN (SELECT unnest($videos))
GROUP BY label ORDER BY max(score) DESC, label
"""


class Examples:
    """The examples of one engine's store, worked out anew when the store has grown or shrunk."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = Lock()
        self._known: tuple[object, list[ExampleOut]] | None = None

    def read(self) -> list[ExampleOut]:
        """Return what can be tried."""
        with self._lock:
            state = self._state()
            if self._known is None or self._known[0] != state:
                self._known = (state, list(self._find()))
            return self._known[1]

    def _state(self) -> object:
        """What an example may hang on, as cheap as it can be had."""
        engine = self._engine
        rows = [(each.space_key, each.num_rows) for each in engine.indexes()]
        return engine.count_by_status(), engine.columns(), rows, len(engine.spaces())

    def _find(self) -> Iterator[ExampleOut]:
        newest = self._engine.sql(
            "SELECT video_id, name, duration_seconds / 2 AS middle, status FROM videos"
            f" ORDER BY video_id DESC LIMIT {NEWEST}"
        ).rows()
        yield from islice(self._labels({row["video_id"]: row["name"] for row in newest}), MOST)
        yield from islice(self._said(), MOST)
        ready = (row for row in newest if row["status"] == "ready" and row["middle"])
        there = (row for row in ready if _may_be_there(self._engine.video(row["video_id"]).path))
        for row in islice(there, MOST):
            yield _seen("frame", "", row["video_id"], row["name"], row["middle"])

    def _labels(self, names: dict[int, str]) -> Iterator[ExampleOut]:
        """Yield what a detector has found and stored."""
        engine = self._engine
        if len(engine.spaces()) < 2 or not names:
            return
        for row in engine.sql(LABELS, options=AS_IT_IS, sure=SURE, videos=list(names)).rows():
            name = names[row["video_id"]]
            yield _seen("label", row["label"], row["video_id"], name, row["seconds"])

    def _said(self) -> Iterator[ExampleOut]:
        """Yield for each column that users made the value that most videos have."""
        for column, kind in self._engine.columns().items():
            quoted = '"' + column.replace('"', '""') + '"'
            rows = self._engine.sql(
                f"SELECT {quoted}::VARCHAR AS value FROM videos WHERE {quoted} IS NOT NULL"
                " GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"
            ).rows()
            for row in rows:
                value = row["value"].replace("'", "''")
                told = value if kind in ("number", "bool") else f"'{value}'"
                yield _seen("said", f"{quoted} = {told}")


def _seen(
    kind: str,
    text: str,
    video_id: int | None = None,
    name: str | None = None,
    seconds: float | None = None,
) -> ExampleOut:
    told = {"kind": kind, "text": text, "video_id": video_id, "name": name, "seconds": seconds}
    return ExampleOut.model_validate(told)


def _may_be_there(path: str) -> bool:
    """Whether a video's file is there; objects elsewhere are not asked for."""
    place = place_of(path)
    return not isinstance(place, Path) or place.exists()
