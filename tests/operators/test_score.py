"""Scores, searches and what they are measured against."""

import pyarrow as pa
import pytest

from engine.cage.sandbox import Sandbox
from engine.operators.base import Context, read_table
from engine.operators.embed import Embed
from engine.operators.filter import Filter
from engine.operators.scan import Scan
from engine.operators.score import Score
from engine.operators.search import Search
from engine.planner.relations import RELATIONS
from engine.search.scores import Match
from tests.asking import Videos, hash_vector

DOG = Match("dog", "a dog")


@pytest.fixture
def context(shared_videos: Videos, sandbox: Sandbox) -> Context:
    return shared_videos.context(sandbox)


def frames(*predicates: str) -> Embed:
    return Embed(Scan("gops", RELATIONS["gops"], predicates))


def all_cosines(videos: Videos, text: str) -> dict[tuple[int, int], float]:
    vector = hash_vector(text.encode())
    return {
        (video, number): float(videos.vector(video, number) @ vector)
        for video in (1, 2, 3)
        for number in range(40)
    }


def test_score_is_the_cosine_of_every_row(context: Context, shared_videos: Videos) -> None:
    score = Score(frames(), (DOG, Match("cat", "a cat")))
    table = read_table(score, context)
    assert table.schema == score.schema
    for column, text in (("dog", "a dog"), ("cat", "a cat")):
        expected = all_cosines(shared_videos, text)
        for row in table.to_pylist():
            wanted = expected[row["video_id"], row["frame"]]
            assert row[column] == pytest.approx(wanted, abs=2e-3)  # stored as float16


@pytest.mark.parametrize("count", [1, 7, 500])
def test_search_equals_sorted_scores(context: Context, count: int) -> None:
    scored = read_table(Score(frames(), (DOG,)), context).to_pylist()
    expected = sorted((row["dog"] for row in scored), reverse=True)[:count]
    for search in (
        Search(frames(), DOG, count),
        Search(Filter(frames(), ["true"]), DOG, count),
    ):
        table = read_table(search, context)
        assert table.schema == search.schema
        assert table.column("dog").to_pylist() == pytest.approx(expected, abs=1e-6)
    assert context.work.found


def test_search_never_comes_back_short_of_a_selective_filter(context: Context) -> None:
    search = Search(Filter(frames(), ["video_id = 3 AND seconds < 3"]), DOG, 5)
    assert read_table(search, context).num_rows == 5


def test_no_rows_have_no_scores(context: Context) -> None:
    table = read_table(Score(Filter(frames(), ["false"]), (DOG,)), context)
    assert table.num_rows == 0
    assert isinstance(table.schema.field("dog").type, pa.DataType)
