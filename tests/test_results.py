"""What a query gives back, in the forms of others."""

import pyarrow as pa
import pytest

from engine import Coverage, Moment, QueryResult

MOMENTS = [
    Moment(2, "<b>.mp4", 1.0, 3.5, 2.0, 0.25),
    Moment(1, "a.mp4", 0.0, 1.0, 0.5, 0.125),
]


def result(moments: list[Moment]) -> QueryResult:
    """Return a result of some moments."""
    return QueryResult(moments, Coverage(2, 9, 0, 0, complete=True), {}, "")


def test_moments_become_an_arrow_table() -> None:
    table = result(MOMENTS).arrow()
    assert table.to_pylist() == result(MOMENTS).rows()
    assert table.column("name").to_pylist() == ["<b>.mp4", "a.mp4"]
    empty = result([]).arrow()
    assert (empty.num_rows, empty.schema) == (0, table.schema)
    assert table.schema.field("video_id").type == pa.int64()


def test_moments_become_frames_where_those_are_installed() -> None:
    pytest.importorskip("polars")
    assert result(MOMENTS).polars()["score"].to_list() == [0.25, 0.125]


def test_a_notebook_shows_names_as_they_are() -> None:
    shown = result(MOMENTS)._repr_html_()
    assert shown.count("<tr>") == 3
    assert "&lt;b&gt;.mp4" in shown
    assert "<b>" not in shown
