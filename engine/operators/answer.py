"""Answers of videos to a question, as a column."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import pyarrow as pa

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
class Answer:
    """Add what each row's video answers; a video is asked once, and only when pulled."""

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
        replies: dict[int, Reply | None] = {}
        for batch in self.source.batches(context):
            videos = batch.column("video_id").to_pylist()
            for video in videos:
                if video not in replies:
                    replies[video] = context.respond(video, self.question, self.choices)
            column = pa.array([_struct(replies[video]) for video in videos], REPLY)
            yield pa.RecordBatch.from_arrays([*batch.columns, column], schema=self.schema)


def _struct(reply: Reply | None) -> dict[str, object] | None:
    return None if reply is None else asdict(reply)
