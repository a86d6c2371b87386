"""Rows of clips: each the pictures of its own span, by transformers from pictures decoded apart."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import XCLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from engine import Engine
from engine.video.write import write_h264
from engine.world.clip import make_clip
from engine.world.render import render_frames
from tests.library_checkpoints import tiny_x_clip

HELD = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_x_clip(tmp_path_factory.mktemp("x-clip"))


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "moving.mp4"
    made = make_clip(5, "test", duration_seconds=8.3, redundancy=0.2)
    write_h264(path, render_frames(made, 64), made.fps, gop=10)
    return path


@torch.inference_mode()
def vectors_of(folder: Path, video: Path, fps: float) -> dict[float, np.ndarray]:
    """By PyAV, numpy and transformers: of each instant the vector of the clip that begins there."""
    with av.open(str(video)) as opened:
        shown = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in opened.decode(video=0)]
    times = np.array([time for time, _ in shown])
    process = CLIPImageProcessorPil.from_pretrained(folder)
    model, found, number = XCLIPModel.from_pretrained(folder).eval(), {}, 0
    stop = times[-1] + np.median(np.diff(times))
    while (start := times[0] + number / fps) < stop - 1e-3:
        asked = start + np.arange(HELD) / (fps * HELD)
        at = np.searchsorted(times, asked + 1e-4, side="right") - 1
        values = process([shown[each][1] for each in at], return_tensors="pt")["pixel_values"]
        vector = model.get_video_features(values[None]).pooler_output
        found[round(start, 6)] = F.normalize(vector, dim=-1)[0].numpy()
        number += 1
    return found


@pytest.mark.parametrize("fps", [0.5, 1.6])
def test_a_row_is_the_clip_from_its_instant_to_the_next(
    folder: Path, video: Path, tmp_path: Path, fps: float
) -> None:
    expected = vectors_of(folder, video, fps)
    with Engine.open(tmp_path / "data", str(folder), "cpu") as engine:
        report = engine.ingest(video, fps=fps)
        assert "X-CLIP's vectors are of clips" in report.videos[0].choice
        names = ["seconds", "strategy", "exact", "embedding"]
        table = engine.store.rows(engine.space, [1], names).sort_by("seconds")
        assert [round(each, 6) for each in table["seconds"].to_pylist()] == list(expected)
        assert set(table["strategy"].to_pylist()) == {"dense"}
        assert all(table["exact"].to_pylist())
        stored = np.array(table["embedding"].to_pylist())
        np.testing.assert_allclose(stored, np.array([*expected.values()]), atol=4e-3)
        [best, *_] = engine.query("a red circle", 3, group_by="frame").moments
        assert best.stop_seconds - best.start_seconds == pytest.approx(1 / fps, abs=0.4)


def test_statements_embed_clips_on_demand(folder: Path, video: Path, tmp_path: Path) -> None:
    with Engine.open(tmp_path / "data", str(folder), "cpu") as engine:
        engine.register(video)
        told = "SELECT seconds, CLIP_MATCH(frame, 'a red circle') AS score FROM frames ORDER BY 1"
        found = [tuple(each.values()) for each in engine.sql(told).rows()]
        [said], expected = (
            engine.model.embed_texts(["a red circle"]),
            vectors_of(folder, video, 2.0),
        )
        assert [round(each[0], 6) for each in found] == list(expected)
        scores = [vector @ said for vector in expected.values()]
        np.testing.assert_allclose([each[1] for each in found], scores, atol=4e-3)
