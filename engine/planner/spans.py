"""The arguments of `moments(…)`, `detections(…)` and `nearest(…)`: texts, durations, a cut."""

from collections.abc import Sequence
from typing import Literal, NoReturn

from sqlglot import exp

from engine.errors import BindError, unknown
from engine.planner.block import Scope
from engine.planner.joins import conjuncts
from engine.planner.logical import Detect, Embed, Moments, Nearest, Scan
from engine.planner.place import position_of
from engine.planner.predicates import quotes
from engine.planner.sequence import SEQUENCE, STEP
from engine.planner.texts import OF_COLUMN
from engine.search.moments import Shown, Step, Together

_FORM = "moments('text' [THEN 'text' WITHIN 10s] [, gap => 1.0, min_score => 0.3])"
_NEAREST = "nearest(3 [, other_videos => true])"
_BOXES = "detections(['label' [, min_score]])"
MOST_NEAREST = 1000
_NAMED = ("gap", "min_score", "min_duration", "top_k")


def lift_sequence(block: Scope, table: exp.Table) -> list[exp.Expr]:
    """Take the texts of `moments` from its parentheses, or from WHERE where it has none."""
    if isinstance(table.this, exp.Anonymous):
        return list(table.this.expressions)
    where = block.select.args.get("where")
    for part in conjuncts(where.this) if where else ():
        if _is_sequence(part):
            lifted = part.copy()
            part.replace(exp.true())
            return [lifted]
    return []


def bind_moments(table: exp.Table, arguments: Sequence[exp.Expr], sql: str) -> Moments:
    """Check the arguments and return the plan of the relation."""
    texts = [item for item in arguments if not isinstance(item, exp.Kwarg)]
    if len(texts) != 1:
        _fail(table, f"expected {_FORM}", sql)
    if isinstance(texts[0], exp.Column) and texts[0].table:
        _fail(texts[0], OF_COLUMN, sql)
    if isinstance(texts[0], exp.Query):
        _fail(texts[0], "a view, or what DESCRIBE describes, lists its texts: moments(['a'])", sql)
    given = {}
    for item in arguments:
        if isinstance(item, exp.Kwarg):
            name = item.this.name.lower()
            if name not in _NAMED:
                _fail(table, unknown("argument of moments", name, _NAMED), sql)
            given[name] = _number(item.expression, sql)
    gap = given.get("gap")
    if gap is not None and gap < 0:
        _fail(table, f"gap is a duration in seconds, at least 0, got {gap:g}", sql)
    least, most = given.get("min_duration", 0.0), given.get("top_k")
    if least < 0:
        _fail(table, f"min_duration is in seconds, at least 0, got {least:g}", sql)
    if most is not None and (most < 1 or most != int(most)):
        _fail(table, f"top_k is a whole number, at least 1, got {most:g}", sql)
    apart, most = isinstance(texts[0], exp.Array), None if most is None else int(most)
    listed = dict.fromkeys(_text(item, sql) for item in texts[0].expressions) if apart else ()
    steps = tuple(map(Step, listed)) if apart else _steps(texts[0], sql)
    gops = Embed(Scan("gops"))
    return Moments(gops, steps, gap, given.get("min_score"), least, most, apart)


def bind_detections(table: exp.Table, sql: str) -> Detect:
    """Check the arguments of `detections`, where it has any, and return the plan."""
    given = list(table.this.expressions) if isinstance(table.this, exp.Anonymous) else []
    names = ("label", "min_score")
    told: dict[str, exp.Expr] = {}
    for place, item in enumerate(given):
        name = item.this.name.lower() if isinstance(item, exp.Kwarg) else names[min(place, 1)]
        if name not in names:
            _fail(table, unknown("argument of detections", name, names), sql)
        if name in told or place > 1:
            _fail(table, f"expected {_BOXES}", sql)
        told[name] = item.expression if isinstance(item, exp.Kwarg) else item
    label = told.get("label")
    if label is not None and not (
        isinstance(label, exp.Literal) and label.is_string and label.this.strip()
    ):
        _fail(table, f"expected {_BOXES}{quotes(label)}", sql)
    least = None if "min_score" not in told else _number(told["min_score"], sql)
    if least is not None and not 0 <= least <= 1:
        _fail(table, f"min_score is a score, 0 to 1, got {least:g}", sql)
    return Detect(Scan("gops"), None if label is None else str(label.this), least)


def bind_nearest(table: exp.Table, sql: str) -> Nearest:
    """Check the arguments of `nearest` and return the plan."""
    given = table.this.expressions if isinstance(table.this, exp.Anonymous) else []
    named = {item.this.name.lower(): item for item in given if isinstance(item, exp.Kwarg)}
    counts = [item for item in given if not isinstance(item, exp.Kwarg)]
    for name in named:
        if name != "other_videos":
            _fail(table, unknown("argument of nearest", name, ["other_videos"]), sql)
    if len(counts) != 1:
        _fail(table, f"expected {_NEAREST}", sql)
    count = _number(counts[0], sql)
    if count != int(count) or not 1 <= count <= MOST_NEAREST:
        _fail(table, f"nearest takes a whole number of 1 to {MOST_NEAREST}, got {count:g}", sql)
    apart = named["other_videos"].expression if named else exp.false()
    if not isinstance(apart, exp.Boolean):
        _fail(table, f"expected {_NEAREST}", sql)
    frames = Embed(Scan("gops"))
    return Nearest(frames, frames, int(count), bool(apart.this))


def _is_sequence(node: exp.Expr) -> bool:
    if not isinstance(node, exp.Anonymous):
        return False
    name = node.name.lower()
    return name == SEQUENCE or (name == "clip_match" and len(node.expressions) == 1)


def _steps(node: exp.Expr, sql: str) -> tuple[Step, ...]:
    if not (isinstance(node, exp.Anonymous) and node.name.lower() == SEQUENCE):
        return (Step(_shown(node, sql)),)
    steps = []
    for call in node.expressions:
        assert isinstance(call, exp.Anonymous)
        assert call.name.lower() == STEP
        text, hold, gap, within = call.expressions
        steps.append(
            Step(
                _shown(text, sql),
                0.0 if isinstance(hold, exp.Null) else float(hold.this),
                None if isinstance(gap, exp.Null) else float(gap.this),
                None if isinstance(within, exp.Null) else float(within.this),
            )
        )
    if steps[0].within_seconds is not None:
        _fail(node, "WITHIN belongs to a text after THEN", sql)
    return tuple(steps)


def _shown(node: exp.Expr, sql: str) -> Shown:
    """Read texts with AND, OR and NOT between them."""
    if isinstance(node, exp.Paren):
        return _shown(node.this, sql)
    if isinstance(node, exp.Not):
        return Together("not", (_shown(node.this, sql),))
    if isinstance(node, (exp.And, exp.Or)):
        kind: Literal["and", "or"] = "and" if isinstance(node, exp.And) else "or"
        return Together(kind, tuple(_shown(part, sql) for part in node.flatten(unnest=False)))
    return _text(node, sql)


def _text(node: exp.Expr, sql: str) -> str:
    if isinstance(node, exp.Anonymous) and node.name.lower() == "clip_match" and node.expressions:
        node = node.expressions[-1]
    if not isinstance(node, exp.Literal) or not node.is_string or not node.this.strip():
        _fail(node, f"expected {_FORM}{quotes(node)}", sql)
    return str(node.this)


def _number(node: exp.Expr, sql: str) -> float:
    sign = -1.0 if isinstance(node, exp.Neg) else 1.0
    literal = node.this if isinstance(node, exp.Neg) else node
    if not isinstance(literal, exp.Literal) or literal.is_string:
        _fail(node, "expected a number", sql)
    return sign * float(literal.this)


def _fail(node: exp.Expr, message: str, sql: str) -> NoReturn:
    raise BindError(message, sql=sql, position=position_of(node))
