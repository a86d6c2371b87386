"""Hostile statements."""

import os
from pathlib import Path

import pyarrow as pa
import pytest

from engine.cage.sandbox import Sandbox
from engine.errors import EngineError, QueryError
from engine.planner.prepare import prepare

secret_table = pa.table({"secret": ["found in memory"]})

HOSTILE = [
    "SELECT * FROM read_csv('{file}')",
    "SELECT * FROM read_csv_auto('{file}')",
    "SELECT * FROM read_parquet('{file}')",
    "SELECT * FROM read_json('{file}')",
    "SELECT * FROM read_text('{file}')",
    "SELECT * FROM read_blob('{file}')",
    "SELECT * FROM read_duckdb('{file}')",
    "SELECT * FROM parquet_metadata('{file}')",
    "SELECT * FROM sniff_csv('{file}')",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM '{file}'",
    'SELECT * FROM "{file}"',
    "SELECT * FROM secret_table",
    "SELECT * FROM python_scan_all_frames('secret_table')",
    "SELECT * FROM pandas_scan(1)",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('frames')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM duckdb_tables()",
    "SELECT * FROM pragma_version()",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM pg_catalog.pg_tables",
    "SELECT * FROM sqlite_master, (WITH sqlite_master AS (SELECT 1 a) FROM sqlite_master) z",
    "SELECT * FROM duckdb_views, (WITH duckdb_views AS (SELECT 1 a) FROM duckdb_views) z",
    "WITH a AS (FROM duckdb_views), duckdb_views AS (SELECT 1 b) SELECT * FROM a, duckdb_views",
    "WITH duckdb_tables AS (FROM duckdb_tables) SELECT * FROM duckdb_tables",
    "SELECT (WITH pg_class AS (SELECT 1 a) SELECT a FROM pg_class) FROM pg_class",
    "(WITH pragma_database_list AS (SELECT 1) FROM pragma_database_list)"
    " UNION ALL FROM pragma_database_list",
    "SELECT * FROM main.frames_1",
    "SELECT * FROM frames_1",
    "SELECT * FROM sqlite_scan('{file}', 'x')",
    "SELECT getenv('HOME')",
    "SELECT current_setting('home_directory')",
    "SELECT getvariable('x')",
    "SELECT nextval('x')",
    "SELECT sleep_ms(1000000)",
    "SELECT write_log('x')",
    "SELECT json_serialize_sql('SELECT 1')",
    "SELECT * FROM json_execute_serialized_sql('x')",
    "COPY (SELECT 1) TO '{file}'",
    "COPY frames TO '{file}'",
    "EXPORT DATABASE '{file}'",
    "IMPORT DATABASE '{file}'",
    "ATTACH '{file}' AS x",
    "DETACH memory",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA version",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "SET memory_limit = '100GB'",
    "RESET memory_limit",
    "SET VARIABLE x = 1",
    "CREATE TABLE x (a INT)",
    "CREATE MACRO f(x) AS x",
    "CREATE SECRET s (TYPE s3)",
    "DROP TABLE frames",
    "ALTER TABLE frames ADD COLUMN x INT",
    "INSERT INTO frames VALUES (1)",
    "DELETE FROM frames",
    "UPDATE frames SET video_id = 1",
    "MERGE INTO frames USING videos ON TRUE WHEN MATCHED THEN DELETE",
    "TRUNCATE frames",
    "VACUUM",
    "CHECKPOINT",
    "SELECT * INTO x FROM frames",
    "WITH a AS (DELETE FROM frames RETURNING *) SELECT * FROM a",
    "WITH a AS (SELECT * FROM read_csv('{file}')) SELECT * FROM a",
    "SELECT (SELECT max(content) FROM read_text('{file}'))",
    "SELECT * FROM frames WHERE video_id IN (SELECT 1 FROM read_text('{file}'))",
    "SELECT * FROM frames, LATERAL (SELECT * FROM read_text('{file}'))",
    "SELECT 1; SELECT * FROM read_text('{file}')",
    "SELECT 1 UNION ALL SELECT content FROM read_text('{file}')",
    "SUMMARIZE frames",
    "DESCRIBE frames",
    "SHOW TABLES",
    "PREPARE x AS SELECT 1",
    "EXECUTE x",
    "BEGIN",
    "FROM frames; DROP TABLE frames",
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("secret") / "secret.csv"
    path.write_text("content\nsecret\n")
    return path


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("sql", HOSTILE)
def test_is_refused_before_it_runs(sql: str, file: Path, sandbox: Sandbox) -> None:
    before = file.read_text()
    with pytest.raises(QueryError) as caught:
        prepare(
            sql.replace("{file}", str(file)),
            (),
            {},
            sandbox,
            false_match_rate=0.001,
            max_rows=10,
        )
    assert "\n" not in str(caught.value)
    assert file.read_text() == before


@pytest.mark.parametrize("sql", [sql for sql in HOSTILE if "sleep" not in sql])  # reads nothing
def test_the_sandbox_alone_gives_nothing_away(sql: str, file: Path, sandbox: Sandbox) -> None:
    """Behind the checks: what reached DuckDB unchecked would find neither file nor memory."""
    os.environ.setdefault("HOME", "/nowhere")
    before = sorted(file.parent.iterdir())
    try:
        rows = sandbox.run(sql.replace("{file}", str(file)), {}, max_rows=1000).to_pylist()
    except EngineError:
        rows = []
    assert "secret\n" not in repr(rows)
    assert "found in memory" not in repr(rows)
    assert os.environ["HOME"] not in [value for row in rows for value in row.values()]
    assert sorted(file.parent.iterdir()) == before


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM frames",
        "SELECT * FROM range(3) r, unnest([1, 2]) AS u(x), (VALUES (1)) AS v(y)",
        "WITH frames AS (SELECT 1 AS a) SELECT a FROM frames",
        "SELECT list_transform([1], x -> x + 1), regexp_extract('a', 'b'), strftime(now(), '%Y')",
        "SELECT * FROM frames f ASOF JOIN gops g ON f.video_id = g.video_id"
        " AND f.seconds >= g.start_seconds",
        "SELECT video_id, row_number() OVER (PARTITION BY video_id ORDER BY seconds) FROM frames",
        "SELECT * FROM (PIVOT (FROM frames SELECT video_id, picture) ON picture IN ('I', 'P')"
        " USING count(*))",
        "SELECT count(*) FILTER (WHERE picture = 'I') FROM frames GROUP BY ALL",
        "SELECT * EXCLUDE (drift) REPLACE (seconds + 1 AS seconds) FROM frames",
        "SELECT video_id FROM frames EXCEPT SELECT video_id FROM videos",
        "WITH a AS (SELECT 1 AS x), b AS (FROM a) SELECT (SELECT max(x) FROM b) FROM a",
        "SELECT * FROM (WITH a AS (SELECT 1 AS x) SELECT x FROM a UNION ALL FROM a) z",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) FROM t",
    ],
)
def test_harmless_statements_pass(sql: str, sandbox: Sandbox) -> None:
    prepare(sql, (), {}, sandbox, false_match_rate=0.001, max_rows=10)
