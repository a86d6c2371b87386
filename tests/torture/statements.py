"""Statements that do harm: what takes memory, time or DuckDB itself, in many sizes and forms."""

from collections.abc import Iterator

SIZES = (10**6, 10**8, 10**10)
DEPTHS = (1_000, 30_000, 300_000)
LONG = "repeat('ab', {n} // 2)"
COUNTED = "range({n}) t(i)"

# each in every size, as a whole statement
SIZED = [
    f"SELECT {LONG}",
    "SELECT lpad('a', ({n})::INT, 'b')",
    "SELECT rpad('a', least({n}, 2000000000)::INT, 'xyz')",
    f"SELECT replace({LONG}, 'a', repeat('c', 1000))",
    f"SELECT regexp_replace({LONG}, 'a', repeat('c', 1000), 'g')",
    f"SELECT translate({LONG}, 'ab', 'xy')",
    f"SELECT hex({LONG}), to_base64(encode({LONG})), reverse({LONG})",
    f"SELECT string_split({LONG}, '')",
    f"SELECT regexp_split_to_array({LONG}, 'b')",
    f"SELECT regexp_extract_all({LONG}, '.')",
    f"SELECT levenshtein(left({LONG}, 100000000), reverse({LONG}))",
    f"SELECT md5({LONG}), sha256({LONG}), hash({LONG})",
    f"SELECT {LONG} LIKE '%' || repeat('a%b', 1000) || '%'",
    f"SELECT count(*) FROM {COUNTED} WHERE i::VARCHAR SIMILAR TO '(1|2|3)*4(5|6)*'",
    "SELECT format('{{:>{n}}}', 1)",
    "SELECT printf('%{n}d', 1)",
    "SELECT bar(1, 0, 1, {n})",
    "SELECT repeat('1', {n})::BIT",
    "SELECT bitstring('1', least({n}, 2000000000)::INT)",
    "SELECT repeat('9', {n})::BIGNUM * 9",
    "SELECT factorial({n}::INT)",
    "SELECT array_to_string(range({n}), ',')",
    "SELECT list_sort(range({n}))",
    "SELECT list_reverse_sort(list_transform(range({n}), x -> -x))",
    "SELECT list_transform(range({n}), x -> range({n}))",
    "SELECT list_reduce(range({n}), (a, b) -> a + b)",
    "SELECT list_filter(range({n}), x -> x % 2 = 0)",
    "SELECT list_distinct(range({n}))",
    "SELECT list_resize([1], {n}, 7)",
    "SELECT list_zip(range({n}), range({n}), range({n}))",
    "SELECT list_concat(range({n}), range({n}))",
    "SELECT flatten([range({n}), range({n})])",
    "SELECT list_aggregate(range({n}), 'string_agg', ',')",
    "SELECT list_aggregate(range({n}), 'histogram')",
    "SELECT map(range({n}), range({n}))",
    "SELECT unnest(range({n}))",
    "SELECT generate_subscripts(range({n}), 1)",
    f"SELECT list(i) FROM {COUNTED}",
    f"SELECT string_agg(i, ',') FROM {COUNTED}",
    f"SELECT string_agg({LONG.format(n=1000)}, ',') FROM {COUNTED}",
    f"SELECT histogram(i) FROM {COUNTED}",
    f"SELECT map_from_entries(list((i, i))) FROM {COUNTED}",
    f"SELECT json_group_array(i) FROM {COUNTED}",
    f"SELECT json_group_object(i, i) FROM {COUNTED}",
    f"SELECT count(DISTINCT i::VARCHAR || 'x') FROM {COUNTED}",
    f"SELECT quantile_cont(i, 0.5), mode(i), mad(i) FROM {COUNTED}",
    f"SELECT approx_quantile(i, 0.5), reservoir_quantile(i, 0.5, 1000000) FROM {COUNTED}",
    f"SELECT arg_max(i, i, 1000000) FROM {COUNTED}",
    f"SELECT max(i, 1000000) FROM {COUNTED}",
    f"SELECT i % 1000003, list(i) FROM {COUNTED} GROUP BY 1",
    f"SELECT i::VARCHAR, count(*) FROM {COUNTED} GROUP BY ALL",
    f"SELECT DISTINCT hash(i) FROM {COUNTED}",
    f"SELECT * FROM {COUNTED} ORDER BY hash(i)",
    f"SELECT i, repeat('x', 1000) AS s FROM {COUNTED} ORDER BY s, hash(i) LIMIT 900000",
    f"SELECT i, row_number() OVER (ORDER BY hash(i)) FROM {COUNTED}",
    f"SELECT list(i) OVER (ORDER BY i) FROM {COUNTED}",
    f"SELECT string_agg(i, ',') OVER (ORDER BY i ROWS UNBOUNDED PRECEDING) FROM {COUNTED}",
    f"SELECT max(i) FROM {COUNTED}, range(1000000)",
    f"SELECT count(*) FROM {COUNTED} JOIN range({{n}}) u(j) ON i < j AND hash(i) > hash(j)",
    f"SELECT count(*) FROM {COUNTED} JOIN range({{n}}) u(j) ON hash(i) = hash(j)",
    f"SELECT count(*) FROM {COUNTED}, LATERAL (SELECT unnest(range(i)))",
    f"SELECT count(*) FROM {COUNTED} ASOF JOIN range({{n}}) u(j) ON i >= j",
    f"SELECT i FROM {COUNTED} EXCEPT SELECT j FROM range(1, {{n}}) u(j)",
    f"SELECT i FROM {COUNTED} UNION SELECT -j FROM range({{n}}) u(j)",
    f"SELECT * FROM {COUNTED}",
    f"SELECT repeat('z', 10000) FROM {COUNTED} LIMIT 900000",
    f"SELECT (SELECT count(*) FROM range(i)) FROM {COUNTED} LIMIT 1000",
    f"FROM {COUNTED} USING SAMPLE 900000 ROWS",
    "SELECT * FROM generate_series(TIMESTAMP '1900-01-01', TIMESTAMP '2100-01-01',"
    " to_microseconds({n} // 1000000)) LIMIT 900000",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < {n})"
    " SELECT max(n) FROM t",
    "WITH RECURSIVE t(s) AS (SELECT 'a' UNION ALL SELECT s || s FROM t WHERE len(s) < {n})"
    " SELECT max(len(s)) FROM t",
    "WITH RECURSIVE t(a, b) AS (SELECT 0, 1 UNION ALL SELECT b, a + b FROM t, range(2)"
    " WHERE a < {n}) SELECT count(*) FROM t",
]
# each in every depth: JSON of brackets, of objects, and what is made of it
DEEP = [
    "SELECT (repeat('[', {n}) || repeat(']', {n}))::JSON",
    "SELECT (repeat('[', {n}) || repeat(']', {n}))::JSON::VARIANT",
    "SELECT (repeat('{{\"a\":', {n}) || '1' || repeat('}}', {n}))::JSON::VARIANT",
    "SELECT json_structure(repeat('[', {n}) || repeat(']', {n}))",
    "SELECT json_structure(repeat('{{\"a\":', {n}) || '1' || repeat('}}', {n}))",
    "SELECT json_transform(repeat('[', {n}) || repeat(']', {n}), '[\"INT\"]')",
    "SELECT json_extract(repeat('[', {n}) || repeat(']', {n}), '$' || repeat('[0]', {n}))",
    "SELECT json_merge_patch(repeat('{{\"a\":', {n}) || '1' || repeat('}}', {n}),"
    " repeat('{{\"a\":', {n}) || '2' || repeat('}}', {n}))",
    "SELECT json_keys(repeat('{{\"a\":', {n}) || '1' || repeat('}}', {n}), '$..a')",
    "SELECT * FROM json_tree(repeat('[', {n}) || repeat(']', {n}))",
    "SELECT json_pretty(repeat('[', {n}) || repeat(']', {n}))",
    "SELECT (repeat('[', {n}) || repeat(']', {n}))::INT[][][]",
    "SELECT regexp_matches('a', repeat('(', {n}) || 'a' || repeat(')', {n}))",
    "SELECT regexp_matches(repeat('a', {n}), '(a?){{1000}}a{{1000}}')",
    "SELECT regexp_matches(repeat('a', {n}), repeat('a*', 1000) || 'b')",
    "SELECT 'a' SIMILAR TO repeat('a|', {n}) || 'b'",
    "SELECT strptime(repeat('1', {n}), repeat('%d', {n}))",
    "SELECT strftime(now(), repeat('%c', {n}))",
]
ONCE = [
    # texts that grow by naming themselves
    "WITH a AS (SELECT repeat('x', 1000) s), b AS (SELECT string_agg(s, s) s FROM a, range(1000)),"
    " c AS (SELECT string_agg(s, s) s FROM b, range(1000)) SELECT len(s) FROM c",
    "SELECT count(*) FROM range(1000) a, range(1000) b, range(1000) c, range(1000) d",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION SELECT n FROM t) SELECT * FROM t",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n FROM t) SELECT * FROM t LIMIT 5",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT -n FROM t) SELECT sum(n) FROM t",
    "SELECT sum(range) FROM range(1000000000000)",
    "SELECT count(*) FROM range(-9223372036854775808, 9223372036854775807)",
    "SELECT range(9223372036854775807)",
    "SELECT repeat('a', 9223372036854775807)",
    "SELECT lpad('a', 2147483647, '')",
    "SELECT list_resize([], 9223372036854775807)",
    "SELECT 9223372036854775807 + 1",
    "SELECT 170141183460469231731687303715884105727 * 2",
    "SELECT 1::DECIMAL(38, 37) * 99::DECIMAL(38, 0)",
    "SELECT 10 ** 400, exp(100000), 'inf'::DOUBLE::INT",
    "SELECT 1 << 100, 1 << -1, 5 % 0, 5 // 0, -9223372036854775808 // -1",
    "SELECT abs(-9223372036854775808)",
    "SELECT substring('abc', -9223372036854775808, 9223372036854775807)",
    "SELECT [1, 2, 3][-9223372036854775808 : 9223372036854775807]",
    "SELECT date_add(DATE '5874897-12-31', INTERVAL 1000000 YEAR)",
    "SELECT INTERVAL 9223372036854775807 MONTH",
    "SELECT TIMESTAMP '294247-01-10 04:00:54' + INTERVAL 1 YEAR",
    "SELECT strptime('x', '%Y'), strftime(DATE '2020-01-01', '%')",
    "SELECT 'x'::INT, 'x'::DATE, 'x'::UUID, 'x'::JSON",
    "SELECT regexp_matches('a', '('), regexp_matches('a', '[[:nope:]]')",
    "SELECT regexp_matches('a', 'a{1000000}')",
    "SELECT error('mine')",
    "SELECT exit()",
    "SELECT quit(1)",
    "SELECT pg_terminate_backend(1)",
    "SELECT checkpoint()",
    "SELECT sleep_ms(100000000)",
    "CALL force_checkpoint()",
    "PRAGMA enable_profiling",
    "PRAGMA force_checkpoint",
    "SET memory_limit = '100GB'",
    "SET threads = 1000",
    "RESET lock_configuration",
    "LOAD '/etc/passwd'",
    "INSTALL httpfs",
    "ATTACH '/tmp/x.db'",
    "COPY (SELECT 1) TO '/tmp/cage_copy.csv'",
    "COPY (SELECT 1) TO '/dev/stdout'",
    "EXPORT DATABASE '/tmp/cage_export'",
    "CREATE TABLE t AS SELECT range FROM range(1000000000)",
    "CREATE TEMP TABLE t AS SELECT range FROM range(1000000000)",
    "INSERT INTO frames SELECT * FROM frames",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/proc/self/environ')",
    "SELECT * FROM '/proc/self/mem'",
    "SELECT * FROM read_blob('/dev/zero')",
    "SELECT * FROM glob('/proc/*')",
    "SELECT * FROM 'http://127.0.0.1:1/x.parquet'",
    "SELECT getenv('PATH'), current_setting('memory_limit')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM query('SELECT 1')",
    "SELECT json_execute_serialized_sql('{}')",
    "SELECT * FROM python_map_function('x')",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM pandas_scan(140000000000000)",
    "SELECT * FROM arrow_scan_dumb(8, 8, 8)",
    "SELECT COLUMNS('.*'), COLUMNS(*) FROM frames, frames f2",
    "SELECT * FROM frames a, frames b, frames c, frames d, frames e",
    "SELECT list(f) OVER () FROM frames f, frames g",
    "FROM frames PIVOT (count(*) FOR frame IN (1, 2, 3))",
    "SELECT a.* FROM frames a POSITIONAL JOIN range(1000000000)",
    "SELECT encode('ü')[1:1]::VARCHAR, decode('\\xff'::BLOB)",
    "SELECT '\\xFF\\xFE'::BLOB::VARCHAR, chr(0), chr(1114112)",
    "SELECT chr(-1)",
    "SELECT unicode(''), ord('')",
    "SELECT 'a\0b'",
    'SELECT "a\0b" FROM frames',
    "SELECT '\ud800'",
    "SELECT 'unclosed",
    "SELECT /* unclosed",
    "SELECT 1 --",
    "\0",
    "",
    ";;;;",
    "SELECT",
    "SELECT * FROM",
    "SELECT 1; SELECT 2",
    "(((((",
    ")))))",
]


def attacks() -> Iterator[str]:
    """All statements, each once."""
    yield from dict.fromkeys([*ONCE, *written(), *_sized()])


def _sized() -> Iterator[str]:
    for sizes, templates in ((DEPTHS, DEEP), (SIZES, SIZED)):
        for template in templates:
            yield from (template.format(n=size) for size in sizes)


def written() -> Iterator[str]:
    """Statements whose own text is the attack."""
    for n in (20, 2_000, 20_000):
        yield f"SELECT * FROM frames WHERE video_id IN ({', '.join(map(str, range(n)))})"
        yield "SELECT " + ", ".join(f"seconds + {i} AS c{i}" for i in range(n)) + " FROM frames"
        yield " UNION ALL ".join(["SELECT 1 AS a"] * n)
        yield "SELECT 1" + " + 1" * n
        yield "SELECT " + " || ".join(["'a'"] * n)
        yield "SELECT " + "(" * n + "1" + ")" * n
        yield "SELECT " + "[" * n + "1" + "]" * n
        yield "SELECT " + "{'a': " * n + "1" + "}" * n
        yield "SELECT " + "NOT " * n + "TRUE"
        yield "SELECT " + "- " * n + "1"
        yield "SELECT 1" + "::INT" * n
        yield "SELECT " + "CASE WHEN TRUE THEN " * n + "1" + " END" * n
        yield "SELECT " + "abs(" * n + "1" + ")" * n
        yield "SELECT * FROM " + "(SELECT * FROM " * n + "videos" + ")" * n
        yield "SELECT * FROM frames WHERE " + " OR ".join(f"seconds = {i}" for i in range(n))
        yield "SELECT * FROM frames WHERE seconds IN (SELECT " * n + "1" + ")" * n
        yield "SELECT '" + "x" * (n * 100) + "'"
        yield f"SELECT {'x' * n} FROM frames"
        yield "WITH " + ", ".join(f"a{i} AS (SELECT {i} AS v)" for i in range(n)) + " FROM a0"
        last = min(n, 40)
        ctes = [f"a{i} AS (SELECT x.v FROM a{i - 1} x, a{i - 1} y)" for i in range(1, last)]
        first = "a0 AS (SELECT 1 AS v UNION ALL SELECT 2)"
        yield f"WITH {first}, {', '.join(ctes)} SELECT count(*) FROM a{last - 1}"
