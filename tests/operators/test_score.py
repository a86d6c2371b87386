"""Scores, searches and what they are measured against."""

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from engine.errors import UsageError
from engine.operators.base import Context, read_table, row_ids
from engine.operators.embed import Embed
from engine.operators.filter import Filter
from engine.operators.measure import Match, score_rows, subject_vector
from engine.operators.null import load_null, probability, quantile
from engine.operators.sandbox import Sandbox
from engine.operators.scan import Scan
from engine.operators.score import Score
from engine.operators.search import Search
from engine.planner.relations import RELATIONS
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
        Search(frames(), DOG, count, whole=True),
        Search(Filter(frames(), ["true"]), DOG, count),
    ):
        table = read_table(search, context)
        assert table.schema == search.schema
        assert table.column("dog").to_pylist() == pytest.approx(expected, abs=1e-6)
    assert context.work.found


def test_search_never_comes_back_short_of_a_selective_filter(context: Context) -> None:
    search = Search(Filter(frames(), ["video_id = 3 AND seconds < 3"]), DOG, 5)
    assert read_table(search, context).num_rows == 5


def test_a_text_is_embedded_once_per_query(context: Context) -> None:
    first = subject_vector(context, "a dog")
    assert subject_vector(context, "a dog") is first


def test_an_image_is_a_subject_too(context: Context) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (9, 8, 7)).save(buffer, "PNG")
    pixels = np.full((6, 8, 3), (9, 8, 7), np.uint8)
    vector = subject_vector(context, buffer.getvalue())
    assert np.allclose(vector, hash_vector(pixels.tobytes()))
    with pytest.raises(UsageError, match="cannot read the image of 5 bytes"):
        subject_vector(context, b"bytes")


def test_probabilities_rank_as_centred_scores_and_say_how_rare(context: Context) -> None:
    table = read_table(frames(), context)
    ids = row_ids(table)
    shares = score_rows(context, Match("p", "a dog", "probability"), ids)
    dogs = np.isin(ids & 0xFFFFFFFF, np.arange(10, 16))
    assert shares[dogs].min() > 0.99
    assert np.all((shares >= 0) & (shares <= 1))
    # of unrelated texts few match by chance
    texts = [f"unrelated {number}" for number in range(40)]
    found = [score_rows(context, Match("p", text, "probability"), ids) for text in texts]
    assert np.mean(np.stack(found) > 0.99) < 0.03


def test_the_null_is_stored_and_read_again(videos: Videos, sandbox: Sandbox) -> None:
    context = videos.context(sandbox)
    first = load_null(context)
    stored = videos.store.catalog.calibration(videos.space.key)
    assert stored is not None
    assert stored["null"]["rows"] == 100
    again = load_null(videos.context(sandbox))
    assert np.allclose(first.mean_text, again.mean_text)
    assert (first.middle, first.width) == (again.middle, again.width)


def test_quantile_and_probability_are_inverse(context: Context) -> None:
    null = load_null(context)
    for share in (0.01, 0.5, 0.999):
        assert probability(null, np.array([quantile(null, share)]))[0] == pytest.approx(share)


def test_no_rows_have_no_scores(context: Context) -> None:
    table = read_table(Score(Filter(frames(), ["false"]), (DOG,)), context)
    assert table.num_rows == 0
    assert isinstance(table.schema.field("dog").type, pa.DataType)
