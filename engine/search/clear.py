"""Whether a span is a clear match: one that `moments()`, calibrated, has too."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.search.context import SearchContext
from engine.search.grouping import VideoSpan
from engine.search.null import has_null
from engine.search.scores import Match, cosine_at, cosines, line_of
from engine.storage import row_id


def are_clear(
    context: SearchContext, subject: str | bytes | NDArray[np.float32], spans: Sequence[VideoSpan]
) -> list[bool | None]:
    """Say of each span whether one of its frames fits the text better than unrelated texts do.

    At most `false_match_rate` of unrelated frames and texts do by chance. None where that is not
    known: for pictures and vectors, and in a space without a null.
    """
    if not spans or not isinstance(subject, str) or not has_null(context):
        return [None] * len(spans)
    match = Match("", subject, "probability")
    cutoff = cosine_at(context, match, 1 - context.options.false_match_rate)
    vector = line_of(context, match).vector
    return [
        bool((cosines(context, vector, _rows(context, item)) >= cutoff).any()) for item in spans
    ]


def _rows(context: SearchContext, item: VideoSpan) -> NDArray[np.int64]:
    """Return the ids of a span's frames."""
    frames = context.reading.view.frames
    first, stop = np.searchsorted(
        frames.row_ids, row_id.pack([item.video_id, item.video_id + 1], 0)
    )
    ids, seconds = frames.row_ids[first:stop], frames.seconds[first:stop]
    span = item.span
    return ids[(seconds >= span.start_seconds - 1e-6) & (seconds < span.stop_seconds)]
