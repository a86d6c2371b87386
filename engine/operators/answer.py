"""Answers of videos to a question, as a column."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import pyarrow as pa

from engine.cage.ending import check_awaited
from engine.operators.base import Context, Operator, Reply

REPLY = pa.struct(
    [
        pa.field("answer", pa.string()),
        pa.field("confidence", pa.float64()),
        pa.field("start_seconds", pa.float64()),
        pa.field("stop_seconds", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class VideoAnswer:
    """Add what each row's video answers; a statement asks a video once, and only when pulled."""

    source: Operator
    name: str
    question: str
    choices: tuple[str, ...] | None

    @property
    def schema(self) -> pa.Schema:
        """The source's columns and the answer."""
        return self.source.schema.append(pa.field(self.name, REPLY))

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Ask each video when its first row comes."""
        for batch in self.source.batches(context):
            videos = batch.column("video_id").to_pylist()
            column = pa.array([_struct(self._reply(context, video)) for video in videos], REPLY)
            yield pa.RecordBatch.from_arrays([*batch.columns, column], schema=self.schema)

    def _reply(self, context: Context, video: int | None) -> Reply | None:
        if video is None:
            return None
        key = (video, self.question, self.choices)
        if key not in context.replies:
            check_awaited()
            context.replies[key] = context.respond(*key)
        return context.replies[key]


def _struct(reply: Reply | None) -> dict[str, object] | None:
    return None if reply is None else asdict(reply)
