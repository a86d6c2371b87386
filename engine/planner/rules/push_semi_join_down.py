"""Drop whole videos before anything is computed for their frames."""

from dataclasses import replace

from engine.planner.logical import (
    Classify,
    Detect,
    Embed,
    Filter,
    Hold,
    Judge,
    Moments,
    Nearest,
    Plan,
    Scan,
    Score,
    SemiJoin,
    Spot,
    Tell,
    TellTexts,
    TextMatch,
    VideoAnswer,
    transform,
)

_ADDING = (  # a column to each row
    Score, VideoAnswer, Classify, Spot, TextMatch, Judge, Tell, TellTexts
)  # fmt: skip


def push_semi_join_down(plan: Plan) -> Plan:
    """Move a semi-join below filters, scores, answers and actions; on `video_id` below all else."""
    return transform(plan, _push)


def _push(plan: Plan) -> Plan:
    if not isinstance(plan, (SemiJoin, Hold)):
        return plan
    source = plan.source
    if isinstance(plan, Hold):
        if isinstance(source, Classify) or (
            isinstance(source, Filter) and not isinstance(source.source, Scan)
        ):
            return replace(source, source=replace(plan, source=source.source))
        return plan
    if isinstance(source, Nearest) and plan.key in ("video_id", "frame"):
        return replace(source, source=replace(plan, source=source.source))
    if isinstance(source, Moments) and source.top_k is not None:
        return plan
    if isinstance(source, (Embed, Detect, Moments)) and plan.key != "video_id":
        return plan
    if isinstance(source, Filter) and isinstance(source.source, Scan):
        return plan
    if isinstance(source, (*_ADDING, Filter, Embed, Detect, Moments)):
        return replace(source, source=replace(plan, source=source.source))
    return plan
