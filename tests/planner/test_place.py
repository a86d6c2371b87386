"""Errors of DuckDB point into the user's text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cage.sandbox import Sandbox
from engine.errors import BindError, DataError, LimitError, QueryError
from engine.planner.place import in_users_text
from engine.sql import run_sql
from tests.asking import Videos


@pytest.mark.parametrize(
    ("sql", "kind", "word"),
    [
        ("SELECT   nofunc(seconds) FROM frames", BindError, "nofunc"),
        ("SELECT 1 AS a, 'x'::INT FROM frames", DataError, "'x'"),
        ("SELECT CAST('1' AS INT), CAST('y' AS INT) FROM frames", DataError, "CAST('y'"),
        ("SELECT 1 LIMIT 'a'", DataError, "'a'"),
        ("SELECT f.seconds\nFROM frames f\nGROUP BY video_id", BindError, "seconds"),
        ("SELECT CLIP_MATCH(frame, 'a') > 'b' FROM frames", DataError, "'b'"),
        ("SELECT regexp_matches(picture, '(') FROM frames", DataError, None),
        ("SELECT strptime(picture, '%Y') FROM frames", DataError, None),
        ("SELECT (2147483647 - video_id::INT + 10)::INT FROM frames", DataError, None),
    ],
)
def test_the_users_own_errors(
    shared_videos: Videos, sandbox: Sandbox, sql: str, kind: type[QueryError], word: str | None
) -> None:
    with pytest.raises(kind) as caught:
        run_sql(shared_videos.context(sandbox), sql, max_rows=1000)
    error = caught.value
    assert "\n" not in str(error)
    if word is not None:
        assert error.position == sql.index(word)
        assert word in error.caret()


def test_of_equal_words_the_right_one() -> None:
    made, text = "SELECT CAST(a AS INT), b, a FROM t", "select a::int, b, a from t"
    error = in_users_text(DataError("no", sql=made, position=made.rindex("a")), text)
    assert error.position == text.rindex("a f")


def test_where_it_cannot_be_told_nothing_is_pointed_at() -> None:
    error = DataError("no", sql="SELECT __match_0 FROM input_1", position=7)
    assert in_users_text(error, "SELECT CLIP_MATCH(frame, 'a') FROM frames").position is None


def test_a_limit_has_no_place() -> None:
    error = LimitError("out of time", kind="time")
    assert in_users_text(error, "SELECT 1") is error


words = st.lists(st.sampled_from(["a", "b", "'c d'", '"e"', "1", "(", ","]), min_size=1).map(
    " ".join
)


@given(made=words, text=words, place=st.integers(0, 60))
def test_what_is_pointed_at_is_a_word_of_both(made: str, text: str, place: int) -> None:
    found = in_users_text(DataError("no", sql=made, position=place), text).position
    if found is not None:
        assert text[found:].split(" ")[0] in made
    same = in_users_text(DataError("no", sql=text, position=place), text).position
    assert same is None or same >= place
