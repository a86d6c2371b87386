"""Where boxes are: `inside`, `left_of` and `above` stand for comparisons of their sides."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from sqlglot import exp

from engine.errors import BindError, UsageError, unknown
from engine.planner.place import position_of
from engine.zones import Zone, read_zone

SPATIAL: Final = MappingProxyType(
    {
        "inside": "inside(box, 'zone')",
        "left_of": "left_of(box, box)",
        "above": "above(box, box)",
    }
)
_SIDES = ("x0", "y0", "x1", "y1")
_A_BOX = "a box is a name of detections or the four sides x0, y0, x1, y1"


def expand_spatial(query: exp.Query, zones: Mapping[str, Zone], sql: str) -> exp.Query:
    """Put comparisons in the place of the calls; a zone is a name or a text of corners."""
    for call in list(query.find_all(exp.Anonymous)):
        kind = call.name.lower()
        if kind == "inside":
            call.replace(_inside(call, zones, sql))
        elif kind in SPATIAL:
            call.replace(_before(call, kind == "left_of", sql))
    return query


def _inside(call: exp.Anonymous, zones: Mapping[str, Zone], sql: str) -> exp.Expr:
    """Whether a box's middle is in a zone: a ray to the right crosses its edges an odd time."""
    *given, named = call.expressions or [exp.null()]
    [box] = _boxes(call, given, 1, sql)
    if not (isinstance(named, exp.Literal) and named.is_string):
        said = f"expected {SPATIAL['inside']}"
        raise BindError(said, sql=sql, position=position_of(call))
    zone = _zone(call, named.this, zones, sql)
    x, y = _middle(box, 0), _middle(box, 1)
    crossings = [
        f"CASE WHEN ({y} < {ay!r}) <> ({y} < {by!r})"
        f" AND {x} < {ax!r} + ({bx - ax!r}) * ({y} - {ay!r}) / ({by - ay!r}) THEN 1 ELSE 0 END"
        for (ax, ay), (bx, by) in zip(zone, (*zone[1:], zone[0]), strict=True)
        if ay != by
    ]
    return _parsed(f"(({' + '.join(crossings) or '0'}) % 2 = 1)")


def _before(call: exp.Anonymous, across: bool, sql: str) -> exp.Expr:
    """Whether a box's middle is further left, or further up, than another's."""
    one, other = _boxes(call, call.expressions, 2, sql)
    side = 0 if across else 1
    return _parsed(f"({_middle(one, side)} < {_middle(other, side)})")


def _boxes(
    call: exp.Anonymous, given: Sequence[exp.Expr], count: int, sql: str
) -> list[Sequence[exp.Expr]]:
    """Read so many boxes, each a name or four sides."""
    names = [each for each in given if isinstance(each, exp.Column) and not each.args.get("table")]
    if len(given) == len(names) == count:
        return [[exp.column(side, table=name.this.copy()) for side in _SIDES] for name in names]
    if len(given) == 4 * count:
        return [given[at : at + 4] for at in range(0, len(given), 4)]
    said = f"expected {SPATIAL[call.name.lower()]}: {_A_BOX}"
    raise BindError(said, sql=sql, position=position_of(call))


def _zone(call: exp.Anonymous, named: str, zones: Mapping[str, Zone], sql: str) -> Zone:
    if named in zones:
        return zones[named]
    if "," not in named:
        said = f"{unknown('zone', named, zones)}; zones stand in dejavu.toml"
        raise BindError(said, sql=sql, position=position_of(call))
    try:
        return read_zone(named)
    except UsageError as error:
        raise BindError(str(error), sql=sql, position=position_of(call)) from error


def _middle(box: Sequence[exp.Expr], side: int) -> str:
    low, high = (box[at].sql("duckdb") for at in (side, side + 2))
    return f"(({low} + {high}) / 2)"


def _parsed(text: str) -> exp.Expr:
    parsed: exp.Expr = exp.maybe_parse(text, dialect="duckdb")
    return parsed
