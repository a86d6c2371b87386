"""Which frames count only in which spans, of the same video: what joins by time say."""

from collections.abc import Iterator
from typing import TypeAlias

from sqlglot import exp

from engine.planner.block import FromItem, Scope
from engine.planner.logical import Within

_TURNED = str.maketrans("<>", "><")
_TIMED = ("frames", "detections")  # with a second in which each row lies
Named: TypeAlias = tuple[FromItem, str]  # a column of one of our relations


def within(block: Scope) -> Iterator[Within]:
    """Yield which frames or boxes must lie in the span of which GOP or clip, of the same video.

    Clips that would be classified wait for the frames that are left instead, and so do the boxes of
    frames that are scored.
    """
    found: dict[tuple[FromItem, FromItem], set[str]] = {}
    for condition in block.conditions():
        for (one, column), kind, (other, bound) in _compared(block, condition.node):
            if not _can_pair(one, other):
                continue
            if condition.reach(_narrowed(one, other)):
                found.setdefault((one, other), set()).add(f"{column} {kind} {bound}")
    for (one, other), said in found.items():
        if "video_id = video_id" not in said:
            continue
        if other.relation == "detections":
            if "frame = frame" in said:
                yield Within(one.name, other.name, True, "boxes")
            continue
        open_end = "seconds < stop_seconds" in said
        ends = open_end or "seconds <= stop_seconds" in said
        if ends and said & {"seconds > start_seconds", "seconds >= start_seconds"}:
            narrows = "spans" if other.own else "frames"
            yield Within(one.name, other.name, open_end, narrows)  # type: ignore[arg-type]


def _can_pair(one: FromItem, other: FromItem) -> bool:
    """Whether fewer rows of one of two relations spare work on the other."""
    if other.relation == "detections":
        return one.relation == "frames" and bool(one.own)
    works = bool(one.own or other.own) or one.relation == "detections"
    return one.relation in _TIMED and other.relation in ("gops", "clips") and works


def _narrowed(one: FromItem, other: FromItem) -> FromItem:
    """The relation of the two of which fewer rows are read."""
    return other if other.own or other.relation == "detections" else one


def _compared(block: Scope, node: exp.Expr) -> Iterator[tuple[Named, str, Named]]:
    """Yield a comparison of columns both ways round."""
    signs: dict[type[exp.Expr], str] = {
        exp.EQ: "=", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=",
    }  # fmt: skip
    if isinstance(node, exp.Between):
        low, high = node.args["low"], node.args["high"]
        yield from _compared(block, exp.GTE(this=node.this, expression=low))
        yield from _compared(block, exp.LTE(this=node.this, expression=high))
        return
    if type(node) not in signs:
        return
    sides = [_named_column(block, side) for side in (node.this, node.expression)]
    if sides[0] and sides[1]:
        sign = signs[type(node)]
        yield sides[0], sign, sides[1]
        yield sides[1], sign.translate(_TURNED), sides[0]


def _named_column(block: Scope, node: exp.Expr) -> Named | None:
    owners = block.resolve(node) if isinstance(node, exp.Column) else []
    base = owners[0].base(node.name.lower()) if owners else None
    return (owners[0], base) if base else None
