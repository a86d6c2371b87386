"""The distribution of unrelated scores."""

import numpy as np
import pytest

from engine.cage.sandbox import Sandbox
from engine.operators.base import Context
from engine.search.null import load_null, probability, quantile
from tests.asking import Videos


@pytest.fixture
def context(shared_videos: Videos, sandbox: Sandbox) -> Context:
    return shared_videos.context(sandbox)


def test_the_null_is_stored_and_read_again(videos: Videos, sandbox: Sandbox) -> None:
    context = videos.context(sandbox)
    first = load_null(context)
    stored = videos.store.catalog.calibration(videos.space.key, "null")
    assert stored is not None
    assert stored["rows"] == 100
    again = load_null(videos.context(sandbox))
    assert np.allclose(first.mean_text, again.mean_text)
    assert (first.middle, first.width) == (again.middle, again.width)


def test_quantile_and_probability_are_inverse(context: Context) -> None:
    null = load_null(context)
    for share in (0.01, 0.5, 0.999):
        assert probability(null, np.array([quantile(null, share)]))[0] == pytest.approx(share)
