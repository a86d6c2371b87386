"""What frames are measured against, and how."""

import io

import numpy as np
import pytest
from PIL import Image

from engine.cage.sandbox import Sandbox
from engine.errors import UsageError
from engine.operators.base import Context, read_table, row_ids
from engine.operators.embed import Embed
from engine.operators.scan import Scan
from engine.planner.relations import RELATIONS
from engine.search.scores import Match, score_rows, subject_vector
from tests.asking import Videos, hash_vector


@pytest.fixture
def context(shared_videos: Videos, sandbox: Sandbox) -> Context:
    return shared_videos.context(sandbox)


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
    table = read_table(Embed(Scan("gops", RELATIONS["gops"])), context)
    ids = row_ids(table)
    shares = score_rows(context, Match("p", "a dog", "probability"), ids)
    dogs = np.isin(ids & 0xFFFFFFFF, np.arange(10, 16))
    assert shares[dogs].min() > 0.99
    assert np.all((shares >= 0) & (shares <= 1))
    # of unrelated texts few match by chance
    texts = [f"unrelated {number}" for number in range(40)]
    found = [score_rows(context, Match("p", text, "probability"), ids) for text in texts]
    assert np.mean(np.stack(found) > 0.99) < 0.03
