"""Random statements of one shape each: recursive CTEs, PIVOT and set operations."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.oracle.generator import Generator


def recursive(draw: "Generator") -> str:
    """Return a recursive CTE that counts along rows that match."""
    source, tables, where = draw.sources([], 0)
    number = draw.column(tables, "n")[0]
    link = draw.pick("f.video_id = r.n", "f.video_id = r.n AND f.seconds < 2")
    item = draw.pick("f.frame", "CLIP_MATCH(f.frame, 'a dog')")
    return (
        f"WITH RECURSIVE r(n) AS (SELECT 1 UNION SELECT r.n + 1 FROM r, frames f WHERE {link}"
        f" AND r.n < 5) SELECT r.n, {item} AS i FROM r JOIN frames f ON f.video_id = r.n"
        f" WHERE r.n IN (SELECT {number} FROM {source}{where}) OR r.n = 2"
    )


def pivot(draw: "Generator") -> str:
    """Return a PIVOT over scores."""
    source, tables, where = draw.sources([], 1)
    key = draw.column(tables, "n")[0]
    scored = [table for table in tables if table.handle]
    value = draw.score(scored[0]) if scored else "1"
    return (
        f"WITH p AS (SELECT {key} AS k, {tables[0].alias}.video_id % 3 AS g, {value} AS s"
        f" FROM {source}{where}) SELECT * FROM p PIVOT (max(s) FOR g IN (0, 1, 2) GROUP BY k)"
        if "video_id" in tables[0].columns
        else f"SELECT {key} AS k FROM {source}{where}"
    )


def set_operation(draw: "Generator", depth: int) -> str:
    """Return a UNION, EXCEPT or INTERSECT of two or three queries."""
    arms = []
    for _ in range(draw.random.choice((2, 2, 3))):
        source, tables, where = draw.sources([], depth - 1)
        number = draw.column(tables, "n")[0]
        scored = [table for table in tables if table.handle]
        value = draw.score(scored[0]) if scored and draw.chance(0.7) else "0.5"
        arms.append(f"SELECT {number} AS a, {value}::DOUBLE AS b FROM {source}{where}")
    words = ["UNION", "UNION ALL", "EXCEPT", "INTERSECT", "EXCEPT ALL"]
    sql = arms[0]
    for arm in arms[1:]:
        sql = f"{sql} {draw.pick(*words[:2]) if len(arms) > 2 else draw.pick(*words)} {arm}"
    if draw.chance(0.3):
        return f"SELECT * FROM ({sql}) u WHERE a > {draw.pick('1', '1500')}"
    return sql + draw.pick("", " ORDER BY ALL LIMIT 4")
