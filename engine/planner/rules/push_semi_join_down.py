"""Drop whole videos before anything is computed for their frames."""

from dataclasses import replace

from engine.planner.logical import (
    Answer,
    Embed,
    Filter,
    Moments,
    Plan,
    Scan,
    Score,
    SemiJoin,
    transform,
)


def push_semi_join_down(plan: Plan) -> Plan:
    """Move a semi-join below filters, scores and answers; on `video_id` below all else too."""
    return transform(plan, _push)


def _push(plan: Plan) -> Plan:
    if not isinstance(plan, SemiJoin):
        return plan
    source = plan.source
    if isinstance(source, (Embed, Moments)) and plan.key != "video_id":
        return plan
    if isinstance(source, Filter) and isinstance(source.source, Scan):
        return plan
    if isinstance(source, (Filter, Score, Answer, Embed, Moments)):
        return replace(source, source=replace(plan, source=source.source))
    return plan
