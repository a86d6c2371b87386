"""Filter, Limit, Top, SemiJoin and Scan: rows out, schema out, and how often a source is pulled."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.cage.sandbox import Sandbox
from engine.errors import DataError
from engine.operators.base import Context, Operator, read_table
from engine.operators.filter import Filter
from engine.operators.limit import Limit
from engine.operators.scan import Scan
from engine.operators.semi_join import SemiJoin
from engine.operators.timed import Timed
from engine.operators.top import Top
from engine.planner.relations import RELATIONS
from tests.asking import Videos


@dataclass(slots=True)
class Batches:
    """A source of given batches that counts how often it is pulled."""

    values: list[list[int]]
    pulled: int = field(default=0)

    @property
    def schema(self) -> pa.Schema:
        """One column of numbers."""
        return pa.schema([("a", pa.int64())])

    def batches(self, context: Context) -> Iterator[pa.RecordBatch]:
        """Yield one batch after another."""
        for values in self.values:
            self.pulled += 1
            yield pa.RecordBatch.from_pydict({"a": values}, schema=self.schema)


def values(operator: Operator, context: Context) -> list[int]:
    """All numbers that an operator gives."""
    table = read_table(operator, context)
    assert table.schema == operator.schema
    return table.column("a").to_pylist()


@pytest.fixture(scope="module")
def context(shared_videos: Videos, sandbox: Sandbox) -> Context:
    return shared_videos.context(sandbox)


def test_limit_pulls_no_batch_after_the_last_row(context: Context) -> None:
    source = Batches([[1, 2], [3, 4], [5]])
    assert values(Limit(source, 3), context) == [1, 2, 3]
    assert source.pulled == 2
    assert values(Limit(source, 0), context) == []
    assert source.pulled == 2
    assert values(Limit(source, 100), context) == [1, 2, 3, 4, 5]


def test_nothing_is_read_before_the_first_pull(context: Context) -> None:
    source = Batches([[1]])
    for operator in (Limit(source, 1), Filter(source, ["a > 0"]), Top(source, "a", 1)):
        operator.batches(context)
    assert source.pulled == 0


@given(
    st.lists(st.lists(st.integers(-5, 5), max_size=5), max_size=5),
    st.integers(0, 8),
    st.integers(-5, 5),
)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_equal_plain_python(
    context: Context, batches: list[list[int]], count: int, cut: int
) -> None:
    flat = [value for batch in batches for value in batch]
    assert values(Limit(Batches(batches), count), context) == flat[:count]
    assert values(Top(Batches(batches), "a", count), context) == sorted(flat, reverse=True)[:count]
    kept = [value for value in flat if value > cut]
    assert values(Filter(Batches(batches), [f"a > {cut}"]), context) == kept
    joined = SemiJoin(Batches(batches), Batches([[cut, 1]]), "a", "a")
    assert values(joined, context) == [value for value in flat if value in (cut, 1)]


def test_a_semi_join_with_nothing_leaves_its_source_alone(context: Context) -> None:
    source = Batches([[1]])
    assert values(SemiJoin(source, Batches([]), "a", "a"), context) == []
    assert source.pulled == 0


def test_a_null_predicate_keeps_nothing(context: Context) -> None:
    assert values(Filter(Batches([[1, 2]]), ["NULL"]), context) == []


def test_timed_counts_rows_and_batches(context: Context) -> None:
    read_table(Timed(Batches([[1, 2], [3]]), 77), context)
    run = context.work.runs[77]
    assert (run.rows, run.batches) == (3, 2)
    assert run.seconds > 0


def test_a_failing_expression_names_its_reason(context: Context) -> None:
    with pytest.raises(DataError, match="could not convert"):
        values(Filter(Batches([[1]]), ["('x' || a)::INT > 0"]), context)


@pytest.mark.parametrize(("relation", "rows"), [("videos", 3), ("gops", 30), ("frames", 120)])
def test_scan_reads_a_relation(context: Context, relation: str, rows: int) -> None:
    table = read_table(Scan(relation, RELATIONS[relation]), context)  # type: ignore[arg-type]
    assert table.schema == RELATIONS[relation]
    assert table.num_rows == rows
    some = Scan(relation, RELATIONS[relation], ("video_id = 2",))  # type: ignore[arg-type]
    assert read_table(some, context).num_rows == rows // 3
