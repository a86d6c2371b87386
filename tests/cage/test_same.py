"""A statement gives in the cage what stock DuckDB gives outside of it."""

from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cage.sandbox import Sandbox
from engine.errors import EngineError

ROWS = pa.table(
    {
        "i": pa.array([3, None, -1, 7, 7, 0], pa.int32()),
        "big": pa.array([2**40, 5, None, -3, 0, 1], pa.int64()),
        "x": pa.array([0.5, float("nan"), float("inf"), None, -0.0, 2.5]),
        "s": pa.array(["a", "", None, "ü%_", "a", "zz"]),
        "on": pa.array([True, False, None, True, False, True]),
        "l": pa.array([[1, 2], [], None, [None], [5], [7, 7]], pa.list_(pa.int32())),
    }
)
STOCK = duckdb.connect(config={"threads": "1"})
NUMBERS = st.sampled_from(["i", "big", "x", "0", "1", "-2", "NULL", "2.5", "s::INT", "len(l)"])
TEXTS = st.sampled_from(["s", "'a'", "upper(s)", "i::VARCHAR", "NULL", "s || s"])
LISTS = st.sampled_from(["l", "[i, 1]", "list_sort(l)", "range(3)", "[]"])


def grown(of: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Larger expressions of numbers."""
    pairs = st.tuples(of, st.sampled_from(["+", "-", "*", "/", "//", "%"]), of)
    return st.one_of(
        pairs.map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        of.map(lambda e: f"abs({e})"),
        st.tuples(of, of).map(lambda p: f"coalesce({p[0]}, {p[1]})"),
        st.tuples(of, of).map(lambda p: f"CASE WHEN {p[0]} > {p[1]} THEN {p[0]} END"),
        TEXTS.map(lambda t: f"length({t})"),
        LISTS.map(lambda t: f"list_sum({t})"),
    )


expressions = st.recursive(NUMBERS, grown, max_leaves=6)
conditions = st.one_of(
    st.just("TRUE"),
    st.tuples(expressions, st.sampled_from(["<", "=", "<>", ">="]), expressions).map(" ".join),
    st.tuples(TEXTS, TEXTS).map(lambda p: f"{p[0]} LIKE {p[1]}"),
    st.sampled_from(["on", "NOT on", "s IS NULL", "list_contains(l, 7)"]),
)
selects = st.one_of(
    st.tuples(expressions, TEXTS, LISTS, conditions).map(
        lambda p: f"SELECT {p[0]} AS a, {p[1]} AS b, {p[2]} AS c FROM t WHERE {p[3]}"
    ),
    st.tuples(expressions, conditions).map(
        lambda p: (
            f"SELECT s, count(*) AS n, max({p[0]}) AS m FROM t WHERE {p[1]}"
            " GROUP BY s ORDER BY s NULLS FIRST"
        )
    ),
    expressions.map(lambda e: f"SELECT i, row_number() OVER (ORDER BY {e}, i, big) AS r FROM t"),
    conditions.map(lambda c: f"SELECT t.i, u.s FROM t LEFT JOIN t u ON t.i = u.i AND (t.{c})"),
)


def outside(sql: str) -> pa.Table | None:
    """What stock DuckDB gives, or None for an error."""
    with STOCK.cursor() as stock:
        stock.execute("SET TimeZone = 'UTC'")  # the engine's, whatever the machine's is
        stock.register("t", ROWS)
        try:
            return stock.sql(sql).to_arrow_table()
        except duckdb.Error:
            return None


def inside(sandbox: Sandbox, sql: str) -> pa.Table | None:
    """What the cage gives, or None for an error."""
    try:
        return sandbox.run(sql, {"t": ROWS}, max_rows=1000)
    except EngineError:
        return None


@pytest.fixture(scope="module")
def one_thread() -> Iterator[Sandbox]:
    """A sandbox whose order of rows is always the same."""
    with Sandbox(threads=1) as opened:
        yield opened


@given(sql=selects)
@settings(max_examples=150, deadline=None)
def test_random_statements(one_thread: Sandbox, sql: str) -> None:
    expected, found = outside(sql), inside(one_thread, sql)
    assert (expected is None) == (found is None)
    if expected is not None and found is not None:
        assert found.schema.equals(expected.schema, check_metadata=True)
        assert repr(found.to_pylist()) == repr(expected.to_pylist())  # NaN is not itself


@pytest.mark.parametrize(
    "value",
    [
        "1::TINYINT, 2::UBIGINT, 3::HUGEINT, 4::UHUGEINT, 1.25::DECIMAL(5, 2)",
        "DATE '2020-02-29', TIME '23:59', TIMESTAMP '1970-01-01 00:00:01'",
        "TIMESTAMP_NS '2020-01-01 00:00:00.123456789', TIMESTAMPTZ '2020-01-01 00:00:00+02'",
        "INTERVAL 3 MONTH, TIMETZ '12:00:00+01'",
        "'x'::BLOB, '1010'::BIT, uuid_to_text('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID)",
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID, '{\"a\": 1}'::JSON",
        "'b'::ENUM('a', 'b'), {'a': 1, 'b': [1, NULL]}, MAP {'k': 1}",
        "[1, 2, 3]::INT[3], union_value(k := 1)::UNION(k INT, v VARCHAR)",
        "NULL, 1.5::FLOAT, repeat('x', 100), 123456789012345678901234567890",
        "'{\"a\": [1, 2]}'::JSON::VARIANT",
    ],
)
def test_every_type_comes_back_as_it_is(sandbox: Sandbox, value: str) -> None:
    sql = f"SELECT {value} FROM range(2)"
    expected, found = outside(sql), inside(sandbox, sql)
    assert (expected is None) == (found is None)
    if expected is not None and found is not None:
        assert found.schema.equals(expected.schema, check_metadata=True)
        assert found.equals(expected)


def test_times_with_a_zone_are_compared_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    with Sandbox() as abroad:
        for zoned in ("2026-03-01T10:00:00+02:00", "2026-03-01T03:00:00-05:00"):
            sql = f"SELECT TIMESTAMP '2026-03-01 08:00' = '{zoned}'::TIMESTAMPTZ AS same"
            found = inside(abroad, sql)
            assert found is not None
            assert found.to_pylist() == [{"same": True}]


def test_what_a_filter_keeps(sandbox: Sandbox) -> None:
    for condition in (
        "i > 0",
        "s LIKE 'a%' OR on",
        "x = x",
        "list_contains(l, 7)",
        "COLUMNS(*) > 0",
    ):
        with duckdb.connect() as stock:
            stock.register("t", ROWS)
            try:
                expected = stock.sql(f"SELECT * FROM t WHERE {condition}").to_arrow_table()
            except duckdb.Error:
                with pytest.raises(EngineError):
                    sandbox.filter(ROWS, [condition])
                continue
        kept = sandbox.filter(ROWS, [condition])
        assert kept.schema == ROWS.schema
        assert repr(kept.to_pylist()) == repr(expected.to_pylist())
