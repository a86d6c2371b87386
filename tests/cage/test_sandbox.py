"""The isolated DuckDB: limits on time, memory and rows, and clear reasons."""

import os
import signal
from threading import Timer

import pyarrow as pa
import pytest

from engine.cage.sandbox import Sandbox
from engine.errors import BindError, DataError, EngineError, LimitError

NUMBERS = pa.table({"a": [1, 2, 3]})


def test_it_sees_the_tables_it_is_handed_and_no_others(sandbox: Sandbox) -> None:
    assert sandbox.run("SELECT sum(a) AS s FROM t", {"t": NUMBERS}, max_rows=9).to_pylist() == [
        {"s": 6}
    ]
    with pytest.raises(BindError, match="name t does not exist"):
        sandbox.run("SELECT * FROM t", {}, max_rows=9)


def test_check_gives_the_columns_without_rows(sandbox: Sandbox) -> None:
    schema = sandbox.check("SELECT a, a / 2 AS half FROM t", {"t": NUMBERS.schema})
    assert schema.names == ["a", "half"]
    with pytest.raises(BindError, match='"b" not found'):
        sandbox.check("SELECT b FROM t", {"t": NUMBERS.schema})


@pytest.mark.parametrize("sql", ["SELECT 1; SELECT 2", "CREATE TABLE x (a INT)", "PRAGMA version"])
def test_check_takes_one_select(sandbox: Sandbox, sql: str) -> None:
    with pytest.raises(BindError, match="only one SELECT is accepted"):
        sandbox.check(sql, {})


def test_too_many_rows_are_an_error(sandbox: Sandbox) -> None:
    assert sandbox.run("FROM range(10)", {}, max_rows=10).num_rows == 10
    with pytest.raises(LimitError, match="more than 9 rows; add a LIMIT"):
        sandbox.run("FROM range(10)", {}, max_rows=9)


def test_too_much_time_and_memory_are_errors() -> None:
    with (
        Sandbox(memory="64MB", threads=1, seconds=0.2) as small,
        pytest.raises(LimitError, match=r"longer than 0.2 s"),
    ):
        small.run("SELECT count(*) FROM range(10000000000), range(1000)", {}, max_rows=1)
    with Sandbox(memory="64MB", threads=1) as small:
        with pytest.raises(LimitError, match="more memory than 64MB"):
            small.run("SELECT list(range) FROM range(100000000)", {}, max_rows=1)
        assert small.run("SELECT 1 AS a", {}, max_rows=1).to_pylist() == [{"a": 1}]


@pytest.mark.parametrize(
    "setting", ["enable_external_access = true", "memory_limit = '9GB'", "threads = 9"]
)
def test_settings_are_locked(sandbox: Sandbox, setting: str) -> None:
    with pytest.raises(BindError):
        sandbox.run(f"SET {setting}", {}, max_rows=1)


def test_a_reason_is_one_line_without_our_own_sql(sandbox: Sandbox) -> None:
    with pytest.raises(DataError) as caught:
        sandbox.run("SELECT 'x'::INT AS n FROM range(2)", {}, max_rows=9)
    assert str(caught.value) == "could not convert string 'x' to INT32"


@pytest.mark.parametrize(
    ("sql", "said"),
    [("SELECT 1 LIMIT -1", "^LIMIT/OFFSET"), ("SELECT 'x'::INT", "^could not convert")],
)
def test_words_of_duckdb_begin_as_ours_do(sandbox: Sandbox, sql: str, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        sandbox.run(sql, {}, max_rows=9)


def test_control_c_ends_a_statement(sandbox: Sandbox) -> None:
    Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        sandbox.run("SELECT count(*) FROM range(1000000) a, range(10000000) b", {}, max_rows=9)
    assert sandbox.run("SELECT 1 AS one", {}, max_rows=9).to_pylist() == [{"one": 1}]
