"""How long a query that says nothing of it makes rows exact."""

from pathlib import Path

import pytest

from engine.search.options import Options
from engine.session import Engine
from engine.video.write import write_h264
from engine.world.clip import make_clip
from engine.world.render import render_frames


def test_it_is_bounded_unless_the_query_says_how_long(tmp_path: Path) -> None:
    clip = make_clip(3, "test", duration_seconds=6.0, redundancy=0.9)
    write_h264(tmp_path / "clip.mp4", render_frames(clip, 96), clip.fps)
    with Engine.open(tmp_path / "data", device="cpu", refine_seconds=1e-6) as engine:
        engine.ingest(tmp_path / "clip.mp4", fps=4, strategy="reusevit", max_drift="none")
        short = engine.query(clip.caption)
        assert short.moments
        assert (short.coverage.complete, short.coverage.refined) == (False, 0)
        exact = engine.query(clip.caption, exact=True)
        assert exact.coverage.complete
        assert exact.coverage.refined > 0
        again = engine.query(clip.caption)  # what was made exact is kept
        assert (again.coverage.complete, again.coverage.refined) == (True, 0)
        assert again.moments == exact.moments


@pytest.mark.parametrize(
    "given",
    [
        *({"refine_frames": 1}, {"refine_seconds": 60.0}, {"budget_frames": 1}),
        *({"budget_seconds": 60.0}, {"exact": True}),
    ],
)
def test_a_bound_that_is_given_is_the_one(given: dict[str, float]) -> None:
    assert Options().override(given).bounds_refining
    assert not Options().override({"exact": False, "embed_seconds": 1.0}).bounds_refining
