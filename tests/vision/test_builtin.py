"""The shipped model does what its card says, so broken preprocessing or tokens are seen."""

import numpy as np
import pytest

from engine.vision.model import BUILTIN, load_model
from engine.world import make_pool, render_at

R_AT_1 = 0.976  # MODEL_CARD.md, among 1,000 clips
CLIPS, FRAMES = 40, 6


@pytest.mark.slow
def test_the_right_clip_comes_first() -> None:
    model = load_model("builtin", device="cpu")
    pool = list(make_pool("test", CLIPS, 7))
    videos = []
    for clip in pool:
        times = (np.arange(FRAMES) + 0.5) * clip.duration_seconds / FRAMES
        videos.append(model.embed_images([render_at(clip, time) for time in times]).mean(0))
    found = np.stack(videos) / np.linalg.norm(videos, axis=1, keepdims=True)
    similar = model.embed_texts([clip.caption for clip in pool]) @ found.T
    assert (similar.argmax(1) == np.arange(CLIPS)).mean() >= 0.9 * R_AT_1


def test_all_of_it_fits_the_package() -> None:
    assert (BUILTIN / "model.safetensors").stat().st_size <= 16_000_000
    assert f"{100 * R_AT_1:.1f} %" in (BUILTIN / "MODEL_CARD.md").read_text()
