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
    found: list[bool | None] = []
    for item in spans:
        ids = frames_of(context, item.video_id, item.span.start_seconds, item.span.stop_seconds)
        found.append(bool((cosines(context, vector, ids) >= cutoff).any()))
    return found


def frames_of(
    context: SearchContext, video_id: int, start_seconds: float, stop_seconds: float
) -> NDArray[np.int64]:
    """Return the ids of the stored frames in a span of a video."""
    frames = context.reading.view.frames
    first, stop = np.searchsorted(frames.row_ids, row_id.pack([video_id, video_id + 1], 0))
    ids, seconds = frames.row_ids[first:stop], frames.seconds[first:stop]
    return ids[(seconds >= start_seconds - 1e-6) & (seconds < stop_seconds)]
